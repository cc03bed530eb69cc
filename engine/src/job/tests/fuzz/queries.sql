select 1 as a, 2 as b
---
with x as (select 1 as a), y as (select a, a + 1 as b from x where a > 0 or a is null)
select a, b from y union all select a, sum(b) from y group by a
---
select a, case when b = 1 then 'x' else 'y' end as b, row_number() over (partition by a order by b) as n
from (values (1, 2), (3, null)) t(a, b) where a in (1, 2, 3) and b is distinct from 4
---
select s.a, s.b from silver.b s left join (select a from silver.b) t on t.a = s.a and not exists (select 1)
