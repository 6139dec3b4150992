-- For wrk: GET requests of paths drawn at random from a file.
-- Arguments: the file of paths, the file with the token, a seed, the mean pause of a connection in milliseconds.

local requests = {}

function init(args)
  local token = io.open(args[2]):read("*l")
  wrk.headers["Authorization"] = "Bearer " .. token
  for path in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
  math.randomseed(tonumber(args[3]))
  local pause = tonumber(args[4])
  if pause > 0 then
    function delay()
      return math.random(0, 2 * pause)
    end
  end
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%f,"bytes":%d,"failed":%d,"p50":%f,"p99":%f}\n',
    summary.requests,
    summary.duration / 1e6,
    summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3
  ))
end
