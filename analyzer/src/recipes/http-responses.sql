-- What did each backend answer, by status?
--
-- Reads http. A backend is a pod's socket. An empty status is one that could not be read; 1xx are
-- interim, and a final response follows. Every asker counts, the kubelet's probes too:
-- `weighbridge split` sets those apart.
SELECT
    pod_uid,
    local_address,
    local_port,
    status,
    CAST(sum(responses) AS BIGINT) AS responses
FROM {http}
GROUP BY pod_uid, local_address, local_port, status
ORDER BY pod_uid, local_address, local_port, status
