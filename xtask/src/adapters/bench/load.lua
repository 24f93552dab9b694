-- Prints wrk's figures as one JSON object, on a line of its own.
done = function(summary, latency, requests)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '{"requests":%d,"failed":%d,"seconds":%f,"p99_ms":%f}\n',
    summary.requests, errors.status + broken, summary.duration / 1e6, latency:percentile(99) / 1e3))
end
