select
    cast(ts as date) as day,
    symbol,
    sum(volume) as volume,
    count(*) as bars
from silver.bars
where ts >= $interval_start and ts < $interval_end
group by cast(ts as date), symbol
