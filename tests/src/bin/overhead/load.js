// 100 users ask as fast as they get answers, or together at a fixed rate.
import http from 'k6/http';

const rate = Number(__ENV.RATE);
const duration = __ENV.DURATION;

export const options = {
  scenarios: {
    load: rate > 0
      ? { executor: 'constant-arrival-rate', rate, duration, preAllocatedVUs: 100, maxVUs: 100 }
      : { executor: 'constant-vus', vus: 100, duration },
  },
  // One request without its answer spoils the runs.
  thresholds: { http_req_failed: [{ threshold: 'rate==0', abortOnFail: true }] },
};

export default function () {
  http.get(__ENV.URL);
}
