-- Requests as browsers send them: ten fields, most of them different in each of 4,096 requests, so
-- that a proxy which remembers whole heads gains nothing. With the argument "close", one request a
-- connection. At the end: one line of JSON, times in microseconds.

local requests, turn = {}, 0

function init(args)
    local agents = { "Chrome/126.0.0.0 Safari/537.36", "Firefox/127.0", "Version/17.5 Safari/605.1.15" }
    local languages = { "en-GB,en;q=0.9", "de-DE,de;q=0.8,en;q=0.5", "fr;q=0.9,en;q=0.7", "ja,en;q=0.6" }
    math.randomseed(tonumber(args[2] or "1"))
    local function hex(digits)
        local text = {}
        for i = 1, digits do text[i] = string.format("%x", math.random(0, 15)) end
        return table.concat(text)
    end
    for i = 1, 4096 do
        local headers = {
            ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:" .. i .. ") " .. agents[i % 3 + 1],
            ["Accept"] = "application/json, text/event-stream;q=0." .. i % 10,
            ["Accept-Language"] = languages[i % 4 + 1],
            ["Accept-Encoding"] = "gzip, deflate, br",
            ["Referer"] = "https://app.example.com/conversations/" .. hex(12),
            ["Origin"] = "https://app" .. i .. ".example.com",
            ["Cookie"] = "session=" .. hex(32) .. "; theme=dark; visits=" .. i,
            ["Authorization"] = "Bearer " .. hex(64),
            ["X-Request-ID"] = hex(8) .. "-" .. hex(4) .. "-" .. hex(4) .. "-" .. hex(12),
            ["traceparent"] = "00-" .. hex(32) .. "-" .. hex(16) .. "-01",
        }
        if args[1] == "close" then headers["Connection"] = "close" end
        requests[i] = wrk.format("GET", wrk.path .. "?n=" .. i, headers)
    end
end

function request()
    turn = turn % 4096 + 1
    return requests[turn]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests":%d,"duration":%d,"p50":%d,"p99":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
