-- A small shop in memory: rows, indexes, joins, groups, text search. SCALE is replaced by a number.
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, city INTEGER);
CREATE TABLE sale (id INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER, day INTEGER, note TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < SCALE * 15)
    INSERT INTO customer SELECT i, printf('name %x', (i * 2654435761) % 4294967296), i * 7919 % 97 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < SCALE * 250)
    INSERT INTO sale SELECT i, 1 + (i * 104729) % (SCALE * 15), (i * 31337) % 9973, (i * 7) % 365,
        printf('%d boxes of %s', i % 50, substr('applespearsplumsgrapes', i % 15, 6)) FROM n;
COMMIT;
CREATE INDEX sale_customer ON sale (customer, day);
SELECT city, count(*), sum(amount), max(day) FROM customer JOIN sale ON sale.customer = customer.id
    GROUP BY city ORDER BY sum(amount) DESC LIMIT 5;
SELECT note, count(*) FROM sale WHERE note LIKE '%pears%' GROUP BY note ORDER BY 2 DESC, 1 LIMIT 5;
UPDATE sale SET amount = amount + 1 WHERE day BETWEEN 100 AND 200;
DELETE FROM sale WHERE amount % 11 = 0;
SELECT name, total FROM (SELECT customer, sum(amount) AS total FROM sale GROUP BY customer) AS sums
    JOIN customer ON customer.id = sums.customer ORDER BY total DESC, name LIMIT 5;
SELECT day, amount, rank() OVER (PARTITION BY day ORDER BY amount DESC, id) AS place FROM sale
    WHERE day < 30 ORDER BY place, day LIMIT 5;
