// The script that everybody writes first: one line in the log for each request.
import http from 'k6/http';

// A threshold that always holds makes k6 keep the count of a status in its summary.
const STATUSES = [0, 200, 404, 500, 502, 503, 504];
export const options = {
  thresholds: Object.fromEntries(
    STATUSES.map((status) => [`http_reqs{status:${status}}`, ['count>=0']]),
  ),
};

export default function () {
  const start = new Date().toISOString();
  const response = http.get(__ENV.TARGET);
  console.log(`[${start}] ${response.body.match(/Hostname: .*/)[0]}`);
}

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: JSON.stringify(data, null, 1) };
}
