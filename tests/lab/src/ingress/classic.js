// The script that everybody writes first: one line in the log for each request.
import http from 'k6/http';

export default function () {
  const start = new Date().toISOString();
  const response = http.get(__ENV.TARGET);
  console.log(`[${start}] ${response.body.match(/Hostname: .*/)[0]}`);
}

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: JSON.stringify(data, null, 1) };
}
