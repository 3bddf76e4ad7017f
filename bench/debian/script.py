"""What Python scripts do all day: dictionaries, objects, strings, JSON, regular expressions, sorting."""

import collections
import heapq
import json
import re
import sys
import zlib


class Node:
    __slots__ = ("x", "y", "cost", "seen")

    def __init__(self, x, y, cost):
        self.x, self.y, self.cost, self.seen = x, y, cost, False


def words(text, limit):
    counts = collections.Counter()
    for line in text.splitlines()[:limit]:
        for word in line.split():
            counts[word.strip(".,").lower()] += 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20]


def shortest_path(size):
    grid = [[Node(x, y, 1 + (x * 7919 + y * 104729) % 9) for x in range(size)] for y in range(size)]
    heap = [(0, 0, 0)]
    while heap:
        cost, x, y = heapq.heappop(heap)
        node = grid[y][x]
        if node.seen:
            continue
        node.seen = True
        if x == size - 1 and y == size - 1:
            return cost
        for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1)):
            if 0 <= x + dx < size and 0 <= y + dy < size:
                near = grid[y + dy][x + dx]
                if not near.seen:
                    heapq.heappush(heap, (cost + near.cost, near.x, near.y))


def round_trip(text, limit):
    records = [{"line": number, "words": line.split(), "half": number / 2, "odd": bool(number & 1)}
               for number, line in enumerate(text.splitlines()[:limit])]
    again = json.loads(json.dumps(records, indent=1))
    return sum(record["half"] for record in again if record["odd"])


def substitute(text, size):
    return re.sub(r"\b([a-z])(\w*?)([aeiou])\b", lambda match: match.group(3) + match.group(2),
                  text[:size])


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        text = file.read()
    scale = int(sys.argv[2])
    print(words(text, 100 * scale))
    print(shortest_path(10 * int(scale ** 0.5)))
    print(round_trip(text, 30 * scale))
    print(zlib.crc32(substitute(text, 1500 * scale).encode()))


main()
