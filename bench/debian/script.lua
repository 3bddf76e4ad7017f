-- Tables, closures, strings, coroutines, numbers: arg[1] is the amount of work.
local scale = tonumber(arg[1])

local function queens(n)
  local count, columns, up, down = 0, {}, {}, {}
  local function place(row)
    if row > n then
      count = count + 1
      return
    end
    for column = 1, n do
      if not (columns[column] or up[row + column] or down[row - column]) then
        columns[column], up[row + column], down[row - column] = true, true, true
        place(row + 1)
        columns[column], up[row + column], down[row - column] = nil, nil, nil
      end
    end
  end
  place(1)
  return count
end

local function sorted(n)
  local values, state = {}, 42
  for i = 1, n do
    state = (state * 1103515245 + 12345) & 0x7fffffff
    values[i] = string.format("%08x", state)
  end
  table.sort(values, function(a, b) return a:sub(3) < b:sub(3) end)
  return values[1], values[n // 2], values[n]
end

local function sieve(n)
  local composite, sum = {}, 0
  for i = 2, n do
    if not composite[i] then
      sum = sum + i
      for j = i * i, n, i do composite[j] = true end
    end
  end
  return sum
end

local function generated(n)
  local produce = coroutine.wrap(function()
    for i = 1, n do coroutine.yield(i) end
  end)
  local parts = {}
  for i in produce do
    if i > n then break end
    parts[#parts + 1] = tostring(i * i):reverse():gsub("1", "one")
    if i == n then break end
  end
  return #table.concat(parts)
end

local function waves(n)
  local sum = 0.0
  for i = 1, n do sum = sum + (i % 7) * 0.5 / (1 + i % 13) end
  return string.format("%.6f", sum)
end

for _ = 1, math.max(1, scale // 100) do queens(8) end
print(queens(8), sorted(150 * scale))
print(sieve(1500 * scale), generated(300 * scale), waves(4000 * scale))
