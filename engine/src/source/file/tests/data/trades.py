"""Writes trades_*.avro by fastavro, and what fastavro reads from them as trades.txt.

python3 -m venv /tmp/fastavro && /tmp/fastavro/bin/pip install fastavro==1.13.1 cramjam backports.zstd && /tmp/fastavro/bin/python trades.py
"""
import datetime as dt
import decimal
import uuid

import fastavro

schema = {"type":"record","name":"Trade","namespace":"com.example","fields":[
 {"name":"id","type":"long"},
 {"name":"symbol","type":["null","string"],"default":None},
 {"name":"px","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":4}},
 {"name":"qty","type":["int","null"]},
 {"name":"ratio","type":"double"},
 {"name":"ok","type":"boolean"},
 {"name":"day","type":{"type":"int","logicalType":"date"}},
 {"name":"ts","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"ms","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
 {"name":"clock","type":{"type":"long","logicalType":"local-timestamp-millis"}},
 {"name":"side","type":{"type":"enum","name":"Side","symbols":["BUY","SELL"]}},
 {"name":"venue","type":["null",{"type":"record","name":"Venue","fields":[{"name":"code","type":"string"},{"name":"tier","type":["null","int"]}]}]},
 {"name":"tags","type":{"type":"array","items":"string"}},
 {"name":"extra","type":{"type":"map","values":"double"}},
 {"name":"mixed","type":["null","long","string"]},
 {"name":"other","type":["null","Venue"]},
 {"name":"uid","type":{"type":"string","logicalType":"uuid"}},
 {"name":"at","type":["null",{"type":"long","logicalType":"time-micros"}]},
]}
def rec(i):
    n = i % 3 == 0
    return {"id":i,"symbol":None if n else f"S{i}é","px":decimal.Decimal(i*12345+1)/decimal.Decimal(10000),"qty":None if n else i*7-20,
      "ratio":i/7,"ok":i%2==0,"day":dt.date(2024,1,1)+dt.timedelta(days=i),"ts":dt.datetime(2024,3,10,1,2,3,456789,tzinfo=dt.timezone.utc)+dt.timedelta(seconds=i),
      "ms":None if n else dt.datetime(2024,3,10,1,2,3,456000,tzinfo=dt.timezone.utc)+dt.timedelta(minutes=i),
      "clock":dt.datetime(2024,7,1,9,30,0)+dt.timedelta(minutes=i),"side":["BUY","SELL"][i%2],
      "venue":None if n else {"code":f"V{i}","tier":None if i%2 else i},"tags":["a","b"][:i%3],"extra":{"k":i*0.5},
      "mixed":[None,i,"x"][i%3],"other":{"code":"O","tier":1} if n else None,"uid":uuid.UUID(int=i*1000003),"at":None if n else dt.time(9,30,i,5)}
rows=[rec(i) for i in range(10)]
for codec in ["null", "deflate", "snappy", "zstandard", "bzip2", "xz"]:
    with open(f"trades_{codec}.avro", "wb") as out:
        fastavro.writer(out, fastavro.parse_schema(schema), rows, codec=codec, sync_interval=200, sync_marker=b"0123456789abcdef")
lines=[]
for r in fastavro.reader(open("trades_null.avro","rb")):
    z=lambda v: "" if v is None else v
    iso=lambda t: "" if t is None else t.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")+"Z"
    lines.append("|".join(str(x) for x in [r["id"],z(r["symbol"]),r["px"],z(r["qty"]),repr(r["ratio"]),str(r["ok"]).lower(),r["day"],iso(r["ts"]),iso(r["ms"]),iso(r["clock"]),r["side"],z(r["venue"] and r["venue"]["code"]),z(r["venue"] and r["venue"]["tier"]),r["uid"],z(r["at"] and (r["at"].hour*3600+r["at"].minute*60+r["at"].second)*1000000+r["at"].microsecond),z(r["other"] and r["other"]["code"])]))
open("trades.txt","w").write("\n".join(lines)+"\n")
