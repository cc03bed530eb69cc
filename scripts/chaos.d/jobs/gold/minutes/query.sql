select
    ts,
    count(*) as bars,
    sum(volume) as volume,
    max(high) as high,
    min(low) as low,
    count(distinct symbol) as symbols
from silver.bars
group by ts
