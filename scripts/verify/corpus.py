"""Malformed and odd files, and what Python's csv, json, fastavro and pyarrow say of them: rows in order, kept with their values or
rejected with their text.

    python corpus.py            # writes the corpus that the engine's tests read
    python corpus.py --check    # fails when it is not what this script writes

The engine's test (engine/src/source/file/tests/corpus.rs) reads what is written. No expected value comes from pulse. Each reader here
asserts that the lines which it tells apart are the file, so that a record cannot be lost by the expectation either.
"""

import base64
import bz2
import csv
import gzip
import io
import json
import lzma
import re
import sys
import zipfile
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import cramjam
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

TARGET = Path(__file__).parents[2] / "engine/src/source/file/tests/data/corpus.json"
CONTRACTS, CASES = {}, []


class Rejected(Exception):
    pass


def contract(name, columns, file_format, **feed):
    parts = [column.split() for column in columns]
    columns = [{"name": name, "type": kind, "required": bool(more)} for name, kind, *more in parts]
    CONTRACTS[name] = {"columns": columns, "feed": {"format": file_format, **feed}}


def case(contract, name, content, rows, ending=""):
    """`rows` are (True, values) and (False, text); a text of None is not compared."""
    rows = [[kept, "|".join(value) if kept else value] for kept, value in rows]
    CASES.append({"contract": contract, "name": name, "ending": ending, "bytes": base64.b64encode(content).decode(), "rows": rows})


def text(content):
    return content.decode("utf-8", "replace")


# Values as the contract's types hold them, in the words in which the engine's test shows them.


def whole(value, bits):
    value = value.strip()
    if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", value) or abs(Decimal(value).adjusted()) > 40:
        raise Rejected
    number = Decimal(value)
    if number != int(number) or not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise Rejected
    return str(int(number))


def decimal(value, precision, scale):
    value = value.strip()
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value) or abs(Decimal(value).adjusted()) > 60:
        raise Rejected
    scaled = Decimal(value).scaleb(scale)
    if scaled != int(scaled) or abs(int(scaled)) >= 10**precision:
        raise Rejected
    digits = str(abs(int(scaled))).rjust(scale + 1, "0")
    sign = "-" if int(scaled) < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"


def stamp(value):
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?", value):
        raise Rejected
    try:
        at = datetime.fromisoformat(re.sub(r"\.(\d+)", lambda part: "." + part[1].ljust(6, "0"), value))
    except ValueError:
        raise Rejected from None
    at = at.astimezone(timezone.utc) if at.tzinfo else at.replace(tzinfo=timezone.utc)
    digits = {0: "seconds"}.get(at.microsecond, "milliseconds" if at.microsecond % 1000 == 0 else "microseconds")
    return at.replace(tzinfo=None).isoformat(timespec=digits) + "Z"


TYPES = {
    "string": lambda value: value,
    "bigint": lambda value: whole(value, 64),
    "int": lambda value: whole(value, 32),
    "decimal(10,2)": lambda value: decimal(value, 10, 2),
    "timestamp": stamp,
}


def values(columns, fields, nulls=("",)):
    row = []
    for column, field in zip(columns, fields, strict=True):
        if field is None or (field if column["type"] == "string" else field.strip()) in nulls:
            if column["required"]:
                raise Rejected
            row.append("")
        else:
            row.append(TYPES[column["type"]](field))
    return row


# CSV by Python's csv module. A record over several lines that does not work out costs its first line.


def lines_of(content, encoding):
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be")):
        if content.startswith(mark):
            content, encoding = content[len(mark) :], name
            break
    decoded = content.decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")
    lines = decoded.split("\n")
    assert "\n".join(lines) == decoded
    return lines


def is_no_text(record):
    return "\0" in record or any("\ud800" <= letter <= "\udfff" for letter in record)


def shown(record):
    return record.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def parse(record, options):
    quote = options.get("quote", '"')
    quoting = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    found = list(csv.reader(io.StringIO(record, newline=""), delimiter=options.get("delimiter", ","), strict=True, **quoting))
    if len(found) != 1:
        raise csv.Error
    return found[0]


def ends_open(record, options):
    """Whether a quoted field goes on beyond the record."""
    try:
        parse(record, options)
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def csv_rows(name, content):
    feed = CONTRACTS[name]["feed"]
    options, columns = feed["format"]["csv"], CONTRACTS[name]["columns"]
    lines = lines_of(content, options.get("encoding", "utf-8"))[options.get("skip_lines", 0) :]
    if options.get("header", True):
        header = parse(lines.pop(0).removesuffix("\r"), options)
        order = [header.index(column["name"]) for column in columns]
    else:
        header, order = columns, range(len(columns))
    rows, at = [], 0
    while at < len(lines):
        line = lines[at].removesuffix("\r")
        if not line.strip(" ") or (options.get("comment") and line.startswith(options["comment"])):
            at += 1
            continue
        end = at + 1
        while ends_open("\n".join(lines[at:end]), options) and end < len(lines):
            end += 1
        record, taken = "\n".join(lines[at:end]).removesuffix("\r"), 1
        try:
            fields = parse(record, options)
            if is_no_text(record):
                raise Rejected
            if end == at + 1 and options.get("ragged") == "null":
                if any(field.strip() for field in fields[len(header) :]):
                    raise Rejected
                fields = (fields + [None] * len(header))[: len(header)]
            if len(fields) != len(header):
                raise Rejected
            taken = end - at
            rows.append((True, values(columns, [fields[place] for place in order], feed.get("nulls", [""]))))
        except (csv.Error, Rejected):
            rows.append((False, shown(line if taken == 1 else record)))
        at += taken
    return rows


def csv_case(contract, name, content, wrap=None, ending=""):
    case(contract, name, wrap(content) if wrap else content, csv_rows(contract, content), ending)


WORDS = ["x string", "y string", "z string"]
PLAIN = {"header": False, "match": "position"}
contract("words", WORDS, {"csv": PLAIN})
contract("apostrophes", WORDS, {"csv": {**PLAIN, "quote": "'", "delimiter": ";"}})
contract("unquoted", WORDS, {"csv": {**PLAIN, "quote": "", "delimiter": "\t"}})
contract("ragged", WORDS, {"csv": {**PLAIN, "ragged": "null"}})
contract("latin", WORDS, {"csv": {**PLAIN, "encoding": "latin-1"}})
contract("windows", WORDS, {"csv": {**PLAIN, "encoding": "windows-1252"}})
contract("wide", WORDS, {"csv": {**PLAIN, "encoding": "utf-16le"}})
contract("preamble", WORDS, {"csv": {**PLAIN, "skip_lines": 2, "comment": "#"}})
TRADES = ["id bigint required", "px decimal(10,2)", "at timestamp", "note string"]
contract("trades", TRADES, {"csv": {}}, nulls=["", "NA", "-"])

for name, content in {
    "nothing": b"",
    "blank lines": b"\n  \n\r\n",
    "whole rows": b"a,b,c\r\nd,e,f",
    "no line end": b"a,b,c",
    "one field": b"a\nd,e,f\n",
    "one too many": b"a,b,c,d\nd,e,f\n",
    "delimiters alone": b",,\n,\n,,,\n",
    "a quoted delimiter": b'"a,a",b,c\n',
    "a quoted newline": b'"a\na",b,c\nd,e,f\n',
    "a quoted newline of Windows": b'"a\r\na",b,c\r\nd,e,f\r\n',
    "three lines in quotes": b'"a\nb\nc",b,"c\n"\nd,e,f\n',
    "doubled quotes": b'"a""b",b,""""\n"""",,""\n',
    "an open quote": b'"a,b,c\nd,e,f\ng,h,i\n',
    "an open quote in the last line": b'a,b,c\nd,"e,f',
    "open quotes that close each other's lines": b'"a,b\n"c,d,e\nf,g,h\n',
    "a quote closed later, and too many fields": b'"a\nb",c,d,e\nf,g,h\n',
    "a quote closed later, and too few": b'"a\nb",c\nf,g,h\n',
    "text behind a quote": b'"a"x,b,c\nd,e,f\n',
    "a blank behind a quote": b'"a" ,b,c\nd,e,f\n',
    "a quote within": b'a"b,c"d,e\n',
    "a blank before a quote": b' "a",b,c\n',
    "a quote alone": b'"\na,b,c\n',
    "quotes alone": b'"","",""\n',
    "a NUL": b"a,\0,c\nd,e,f\n",
    "a NUL in quotes": b'"a\0",b,c\nd,e,f\n',
    "a NUL behind a quoted newline": b'"a\n\0",b,c\nd,e,f\n',
    "no UTF-8": b"a,\xff,c\nd,e,f\n",
    "a cut character": b"a,b,\xc3\nd,\xc3\xa9,f\n",
    "a surrogate": b"a,\xed\xa0\x80,c\nd,e,f\n",
    "an overlong character": b"a,\xc0\xaf,c\n",
    "a mark": b"\xef\xbb\xbfa,b,c\n",
    "a mark and UTF-16": b"\xff\xfe" + "a,\u00e9,c\nd,e\n".encode("utf-16le"),
    "a mark and the other UTF-16": b"\xfe\xff" + "a,\u00e9,c\nd,e\n".encode("utf-16be"),
    "blanks around": b" a , b, c \n",
    "tabs": b"\ta,b,c\t\n",
    "control characters": b"a,\x01\x02,\x7f\n\x1a\n",
    "HTML": b"<html>\n<body>503, sorry</body>\n</html>\n",
    "JSON": b'{"a": 1, "b": 2, "c": 3}\n',
    "semicolons": b"a;b;c\nd;e;f\n",
    "the file twice": b"a,b,c\nd,e,fa,b,c\nd,e,f\n",
    "a field of 3,000 letters": b"a," + b"b" * 3_000 + b",c\nd,e,f\n",
}.items():
    csv_case("words", name, content)
for name, content in {
    "quoted": b"'a;b';c;d\n",
    "an apostrophe within": b"it's;c;d\n",
    "an apostrophe doubled": b"'it''s';c;d\n",
    "an open apostrophe": b"'tis;c;d\ne;f;g\n",
    "quotes of another kind": b'"a;b";c\n"a";"b";"c"\n',
}.items():
    csv_case("apostrophes", name, content)
for name, content in {"quotes are text": b'"a\tb"\t"c\n', "too few": b"a\tb\nc\td\te\n", "commas": b"a,b,c\n"}.items():
    csv_case("unquoted", name, content)
for name, content in {
    "lines of all lengths": b"a\na,b\na,b,c\na,b,c,\na,b,c,,\na,b,c,d\n",
    "a short record of two lines": b'"a\nb"\nc,d,e\n',
    "a short quoted line": b'"a"\n"a","b,"\n',
    "no UTF-8 in a short line": b"a,\xff\nb\n",
}.items():
    csv_case("ragged", name, content)
for name, content in {"every byte": b"a," + bytes(range(160, 256)) + b",c\n", "a cut character": b"a,\xc3,c\n", "NUL": b"a,\0,c\n"}.items():
    csv_case("latin", name, content)
case("windows", "a euro and its quotes", b"a,\x80\x93x\x94,c\n", [(True, ["a", "\u20ac\u201cx\u201d", "c"])])
case("windows", "a byte without a character", b"a,\x81,c\nd,e,f\n", [(False, None), (True, ["d", "e", "f"])])
case("wide", "no mark", "a,\u20ac,c\r\nd,e\n".encode("utf-16le"), [(True, ["a", "\u20ac", "c"]), (False, "d,e")])
case("wide", "half a unit at the end", "a,b,c\nd,e,f".encode("utf-16le") + b"x", [(True, ["a", "b", "c"]), (False, None)])
case("wide", "half a pair", "a,b,c\n".encode("utf-16le") + b"d\0,\0\x00\xd8,\0f\0\n\0", [(True, ["a", "b", "c"]), (False, None)])
for name, content in {
    "both": b"report\n1,2,3\na,b,c\n# a,b,c\nd,e,f\n",
    "a quote in the preamble": b'the "report\n\na,b,c\n',
    "a comment within quotes": b'1\n2\n"a\n#b",c,d\n',
    "a comment behind blanks": b"1\n2\n #a,b,c\n",
    "nothing but a preamble": b"1\n2",
}.items():
    csv_case("preamble", name, content)
HEAD = b"id,px,at,note\n"
for name, content in {
    "a header alone": b"",
    "whole numbers": b"1,1,,\n+2,-0,,\n-3,1e2,,\n4.0,1.50,,\n9223372036854775807,,,\n-9223372036854775808,,,\n",
    "no whole numbers": b"1.5,,,\n9223372036854775808,,,\n1e40,,,\n0x10,,,\n1_000,,,\n1 000,,,\nNaN,,,\n--1,,,\n1-,,,\n",
    "money": b"1,99999999.99,,\n2,100000000,,\n3,0.001,,\n4,0.010,,\n5,.5,,\n6,5.,,\n7,1e-2,,\n8,1e-3,,\n9,-.25,,\n",
    "no money": b'1,"1,5",,\n2,1.2.3,,\n3,$1,,\n4,1%,,\n5,inf,,\n6,.,,\n7,e5,,\n8,1e,,\n9,0b1,,\n',
    "null tokens": b"1,NA,-,-\nNA,1,,\n-,,,\n,,,\n2,na,,\n3,NA ,,x\n4,--,,\n",
    "quoted null tokens": b'1,"NA","-",""\n',
    "stamps": b"1,,2024-02-29T00:00:00Z,\n2,,2024-01-01 10:00:00.123456+02:00,\n3,,1969-12-31T23:59:59.5-05:00,\n4,,0001-01-01T00:00:00,\n",
    "no stamps": b"1,,2023-02-29T00:00:00Z,\n2,,2024-01-01 24:00:01,\n3,,yesterday,\n4,,2024-13-01 00:00:00,\n5,,01/02/2024 00:00:00,\n6,,2024-01-01T00:00:00.1234567Z,\n",
    "other digits": "\u0661,,,\n\uff11,,,\n1\u00a0000,,,\n".encode(),
    "text that looks like a value": b'1,,,007\n2,,,1e5\n3,,,"  "\n4,,,null\n',
    "a header again": HEAD + b"1,,,\n",
    "a value of two lines": b'1,"2\n3",,\n4,,,\n',
}.items():
    csv_case("trades", name, HEAD + content)
csv_case("trades", "fields in another order, and one more", b"note,more,at,px,id\nx,y,,1.5,7\nx,,,,\n")

# What Python's csv reads otherwise or not at all, by the rules of decision 0046.
contract("spark", WORDS, {"csv": {**PLAIN, "escape": "\\"}})
for name, content, rows in [
    ("an escaped quote", rb'"a\"b",c,d', [(True, ['a"b', "c", "d"])]),
    ("an escaped backslash", rb'"a\\",c,d', [(True, ["a\\", "c", "d"])]),
    ("a backslash before a letter", rb'"a\nb",c,d', [(True, ["a\\nb", "c", "d"])]),
    ("a backslash outside of quotes", rb'a\,b,c', [(True, ["a\\", "b", "c"])]),
    ("a doubled quote", b'"a""b",c,d\ne,f,g', [(False, '"a""b",c,d'), (True, ["e", "f", "g"])]),
    ("an escape at the end", b'"a\\', [(False, '"a\\')]),
    ("an escaped closing quote", b'"a\\",b,c\nd,e,f', [(False, '"a\\",b,c'), (True, ["d", "e", "f"])]),
]:
    case("spark", name, content, rows)
contract("bars", WORDS, {"csv": {**PLAIN, "delimiter": "||"}})
for name, content, rows in [
    ("two bars", b"a||b||c\n", [(True, ["a", "b", "c"])]),
    ("one bar", b"a|b||c|||d\n", [(True, ["a|b", "c", "|d"])]),
    ("half a delimiter at the end", b'"a"|', [(False, '"a"|')]),
    ("too few", b"a||b\nc||d||e\n", [(False, "a||b"), (True, ["c", "d", "e"])]),
]:
    case("bars", name, content, rows)
contract("mac", WORDS, {"csv": {}})
case("mac", "carriage returns alone", b"x,y,z\ra,b,c\r", [(False, None)])
case("mac", "a header without the names", b"u,v,w\na,b,c\nd,e,f\n", [(False, "u,v,w"), (False, "a,b,c"), (False, "d,e,f")])
case("mac", "a name twice", b"x,x,z\na,b,c\n", [(False, "x,x,z"), (False, "a,b,c")])
case("mac", "a header that is not closed", b'x,y,"z\na,b,c\n', [(False, 'x,y,"z'), (False, "a,b,c")])

# Fixed width by slices of the decoded line.
PLACES = [("x", 1, 3), ("y", 4, 3), ("z", 7, 3)]
for ragged in ("reject", "null"):
    fields = [{"name": name, "start": start, "width": width} for name, start, width in PLACES]
    contract(f"fixed, {ragged}", ["x string", "y int", "z string"], {"fixed_width": {"fields": fields, "ragged": ragged}})


def fixed_rows(name, content):
    rows = []
    for line in lines_of(content, "utf-8"):
        line = line.removesuffix("\r")
        if not line.strip(" "):
            continue
        fields = [line[start - 1 : start - 1 + width].strip(" \t") for _, start, width in PLACES]
        try:
            if is_no_text(line) or (name.endswith("reject") and len(line) < 9):
                raise Rejected
            rows.append((True, values(CONTRACTS[name]["columns"], fields)))
        except Rejected:
            rows.append((False, shown(line)))
    return rows


for name, content in {
    "whole lines": b"aaa  1ccc\nbbb002c  \r\n",
    "short lines": b"aaa  1cc\naaa  1\na\naaa\n",
    "a short line of Windows": b"aaa  1cc\r\naaa  1ccc\r\n",
    "a long line": b"aaa  1ccc and more\n",
    "characters of several bytes": "\u00e9\u20ac\U0001f600  1ccc\n\u00e9\u00e9\u00e9 1\n".encode(),
    "no number": b"aaa 1xccc\naaa1.5ccc\naaa   ccc\n",
    "no UTF-8": b"aaa  1cc\xff\naaa  1ccc\n",
    "NUL": b"aaa\0 1ccc\naaa  1ccc\n",
    "a tab": b"a\t   1ccc\n",
    "blank lines": b"\n         \naaa  1ccc",
}.items():
    for ragged in ("reject", "null"):
        case(f"fixed, {ragged}", name, content, fixed_rows(f"fixed, {ragged}", content))

# JSON by Python's json, which is made as strict as the standard. What a column does not read is not looked at.
DOCUMENT = ["id bigint required", "s string"]
contract("json lines", DOCUMENT, {"json_lines": {}})
contract("joined", DOCUMENT, {"json_lines": {"joined": True}})
contract("document", DOCUMENT, {"json": {}})
contract("results", DOCUMENT, {"json": {"records": "/results"}})
contract("columns", DOCUMENT, {"json": {"layout": "columns"}})
contract("items", DOCUMENT, {"json_lines": {"fields": ["id", "s"]}})


def not_json(word):
    raise ValueError(word)


class Written(str):
    """A number as it is written."""


class Twice(list):
    pass


def members(pairs):
    found = {}
    for name, value in pairs:
        found[name] = Twice([value]) if name in found else value
    return found


def load(record):
    return json.loads(record, parse_constant=not_json, parse_int=Written, parse_float=Written, object_pairs_hook=members)


def json_values(record, names=None):
    if names:
        if not isinstance(record, list) or len(record) != len(names):
            raise Rejected
        record = dict(zip(names, record, strict=True))
    if not isinstance(record, dict) or not record.keys() & {"id", "s"}:
        raise Rejected
    fields = []
    for column in DOCUMENT:
        value = record.get(column.split()[0])
        # A number is no text.
        if value is not None and (not isinstance(value, str) or (column.startswith("s") and isinstance(value, Written))):
            raise Rejected
        if value is not None and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Rejected
        fields.append(value)
    return values(CONTRACTS["document"]["columns"], fields)


def json_line_rows(contract, content):
    names = CONTRACTS[contract]["feed"]["format"]["json_lines"].get("fields")
    rows = []
    for line in lines_of(content, "utf-8"):
        line = line.removesuffix("\r")
        if not line.strip(" "):
            continue
        try:
            if is_no_text(line):
                raise ValueError
            rows.append((True, json_values(load(line), names)))
        except (ValueError, Rejected, RecursionError):
            rows.append((False, shown(line)))
    return rows


for name, content in {
    "nothing": b"",
    "rows": b'{"id":1,"s":"a"}\r\n{"s":"b","id":2}\n\n  \n{"id":3}',
    "no JSON": b"{\n}\n[\nnul\n'x'\nid\n{id:1}\n{'id':1}\n",
    "JSON that is no record": b'null\ntrue\n0\n"x"\n[]\n[1]\n{}\n{"other":1}\n',
    "commas": b'{"id":1,}\n{,"id":1}\n{"id":1},\n{"id" 1}\n{"id":1 "s":"a"}\n',
    "constants of Python": b'{"id":NaN}\n{"id":1,"s":NaN}\n{"id":1,"x":Infinity}\n{"id":1,"x":-Infinity}\n{"id":True}\n{"id":None}\n',
    "numbers": b'{"id":01}\n{"id":1.}\n{"id":.5}\n{"id":+1}\n{"id":1e2}\n{"id":-0}\n{"id":1.0}\n{"id":1.5}\n{"id":0x1}\n{"id":1e}\n',
    "large numbers": b'{"id":9223372036854775807}\n{"id":9223372036854775808}\n{"id":-9223372036854775808}\n{"id":1e400}\n{"id":123456789012345678901234567890}\n',
    "numbers in strings": b'{"id":"1"}\n{"id":"1.5"}\n{"id":""}\n{"id":"x"}\n{"id":" 1 "}\n',
    "numbers for a text": b'{"id":1,"s":1.50}\n{"id":1,"s":1e400}\n{"id":1,"s":-0}\n',
    "other types": b'{"id":true}\n{"id":[1]}\n{"id":{"a":1}}\n{"id":1,"s":true}\n{"id":1,"s":{}}\n{"id":1,"s":["a"]}\n',
    "nulls": b'{"id":null,"s":"a"}\n{"id":1,"s":null}\n{"s":"a"}\n{"id":null}\n',
    "a name twice": b'{"id":1,"id":2}\n{"id":1,"s":"a","s":"a"}\n{"id":1,"x":1,"x":2}\n',
    "names by case": b'{"ID":1}\n{"id":1,"Id":2,"S":"x"}\n',
    "escapes": b'{"id":1,"s":"\\u00e9\\n\\"\\\\\\/"}\n{"id":1,"s":"\\x"}\n{"id":1,"s":"\\u12"}\n{"\\u0069d":1}\n',
    "surrogates": b'{"id":1,"s":"\\ud83d\\ude00"}\n{"id":1,"s":"\\ud83d"}\n{"id":1,"s":"\\ude00\\ud83d"}\n',
    "control characters": b'{"id":1,"s":"a\tb"}\n{"id":1,"s":"\x01"}\n{"id":1,"s":"\x7f"}\n{"id":1,\t"s":"a"}\n',
    "NUL": b'{"id":1,"s":"\0"}\n\0\n\0{"id":1}\n{"id":1}\n',
    "no UTF-8": b'{"id":1,"s":"\xff"}\n{"id":1,"s":"\xc3\xa9"}\n{"id":1,"x":"\xc3"}\n\x80\n',
    "a surrogate in UTF-8": b'{"id":1,"s":"\xed\xa0\x80"}\n{"id":1}\n',
    "a mark": b'\xef\xbb\xbf{"id":1}\n{"id":2}\n',
    "UTF-16": b"\xff\xfe" + '{"id":1,"s":"\u00e9"}\n{"id":\n'.encode("utf-16le"),
    "two on a line": b'{"id":1}{"id":2}\n{"id":3}\n{"id":4} {"id":5}\n',
    "one over lines": b'{"id":1,\n"s":"a"}\n{"id":2}\n',
    "a cut line": b'{"id":1}\n{"id":2,"s":"a',
    "unclosed": b'{"id":1,"x":[1}\n{"id":1,"x":{"y":2}\n{"id":1]}\n[{"id":1}]\n',
    "comments": b'// {"id":1}\n{"id":1} // x\n{/* x */"id":1}\n#\n',
    "CSV": b"id,s\n1,a\n",
    "blanks everywhere": b'  {  "id" : 1 , "s" : "a" }  \n',
    "separators of lines that are none": '{"id":1,"s":"a\u2028b\x85"}\n'.encode(),
}.items():
    case("json lines", name, content, json_line_rows("json lines", content))
for name, content in {
    "items": b'[1,"a"]\n[2,null]\n["3",4]\n',
    "too few and too many": b'[1]\n[]\n[1,"a",2]\n[1,"a"]\n',
    "no items": b'{"id":1,"s":"a"}\n[1,"a"\n[1 "a"]\n[,]\n[[1],"a"]\n[1,"a",]\n',
}.items():
    case("items", name, content, json_line_rows("items", content))


def joined_rows(content):
    """Records one behind the other, all of them whole."""
    record, rows, rest = json.JSONDecoder(object_pairs_hook=members, parse_int=Written, parse_float=Written), [], content.decode()
    while rest := rest.lstrip(" \t\r\n\x1e"):
        value, end = record.raw_decode(rest)
        try:
            rows.append((True, json_values(value)))
        except Rejected:
            rows.append((False, rest[:end]))
        rest = rest[end:]
    return rows


for name, content in {
    "nothing": b" \n ",
    "Firehose": b'{"id":1}{"id":2,"s":"}{"}{"id":3}',
    "jq": b'{\n  "id": 1,\n  "s": "a"\n}\n{\n  "id": 2\n}\n',
    "RFC 7464": b'\x1e{"id":1}\n\x1e{"id":2}\n',
    "whole, and no records": b'{"id":1}{}[1]{"id":null}{"x":{"id":1}}{"id":2}',
}.items():
    case("joined", name, content, joined_rows(content))
for name, content, rows in [
    ("a cut record", b'{"id":1}{"id":2,"s":"a', [(True, ["1", ""]), (False, '{"id":2,"s":"a')]),
    ("text between", b'{"id":1}xyz{"id":2}', [(True, ["1", ""]), (False, "xyz"), (True, ["2", ""])]),
    ("commas between", b'{"id":1},{"id":2}', [(True, ["1", ""]), (False, ","), (True, ["2", ""])]),
    ("a record without its end, then a line", b'{"id":1,\n{"id":2}\n', [(False, '{"id":1,'), (True, ["2", ""])]),
    ("a wrong record, then one behind it", b'{"id" 1}{"id":2}', [(False, '{"id" 1}'), (True, ["2", ""])]),
    ("no UTF-8", b'{"id":1,"s":"\xff"}{"id":2}', [(False, '{"id":1,"s":"\ufffd"}'), (True, ["2", ""])]),
]:
    case("joined", name, content, rows)


def document_rows(contract, content):
    """The items of a document; a document that is wrong is one rejected row."""
    records = CONTRACTS[contract]["feed"]["format"]["json"].get("records", "")
    decoded = content.removeprefix(b"\xef\xbb\xbf")
    if not decoded.strip():
        return []
    try:
        found = json.loads(decoded, parse_constant=not_json, parse_int=Written, parse_float=Written, object_pairs_hook=members)
        for name in filter(None, records.split("/")):
            found = found[name]
        if isinstance(found, dict):
            found = list(found.values())
        if not isinstance(found, list) or isinstance(found, Twice):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        return [(False, text(decoded))]
    rows = []
    for item in found:
        try:
            rows.append((True, json_values(item)))
        except Rejected:
            rows.append((False, None))
    return rows


for name, content in {
    "nothing": b"",
    "blanks": b" \n ",
    "records": b'[{"id":1,"s":"a"},\n {"id":2}]',
    "no records": b"[]",
    "an object of records": b'{"a":{"id":1},"b":{"id":2}}',
    "records and others": b'[{"id":1},null,2,"x",[],{},{"id":"x"},{"id":2}]',
    "a number": b"5",
    "a text": b'"x"',
    "a comma too many": b'[{"id":1},]',
    "cut": b'[{"id":1},{"id":2}',
    "two documents": b'[{"id":1}][{"id":2}]',
    "JSON lines": b'{"id":1}\n{"id":2}\n',
    "NaN": b'[{"id":1,"s":NaN}]',
    "no UTF-8": b'[{"id":1,"s":"\xff"},{"id":2}]',
    "a mark": b'\xef\xbb\xbf[{"id":1}]',
    "HTML": b"<html></html>",
    "a name twice": b'[{"id":1,"id":1},{"id":2}]',
}.items():
    case("document", name, content, document_rows("document", content))
for name, content in {
    "records": b'{"status":"OK","results":[{"id":1},{"id":2}]}',
    "an error": b'{"status":"ERROR","message":"limit"}',
    "null": b'{"results":null}',
    "a text": b'{"results":"none"}',
    "an array before": b'[{"results":[{"id":1}]}]',
    "none": b'{"results":[]}',
}.items():
    case("results", name, content, document_rows("results", content))
for name, content, rows in [
    ("columns", b'{"id":[1,2],"s":["a",null]}', [(True, ["1", "a"]), (True, ["2", ""])]),
    ("empty columns", b'{"id":[],"s":[]}', []),
    ("other lengths", b'{"id":[1,2],"s":["a"]}', [(False, '{"id":[1,2],"s":["a"]}')]),
    ("no array", b'{"id":[1],"s":"a"}', [(False, '{"id":[1],"s":"a"}')]),
    ("items that are wrong", b'{"id":[1,"x",null,3],"s":["a","b","c","d"]}', [(True, ["1", "a"]), (False, None), (False, None), (True, ["3", "d"])]),
    ("sets", b'[{"id":[1]},{"id":2},{"id":[3,4]}]', [(True, ["1", ""]), (False, '{"id":2}'), (True, ["3", ""]), (True, ["4", ""])]),
    ("cut", b'{"id":[1,2],"s":["a"', [(False, '{"id":[1,2],"s":["a"')]),
]:
    case("columns", name, content, rows)

# Avro as fastavro writes it: which rows are in which block is what fastavro reads.
contract("avro", ["id bigint required", "s string"], {"avro": {}})
SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}, {"name": "s", "type": ["null", "string"]}]}
MARKER = bytes(range(16))


def avro(codec="null", rows=40, schema=SCHEMA, **options):
    records = [{"id": at, "s": None if at % 3 == 0 else f"s{at}"} for at in range(rows)]
    file = io.BytesIO()
    fastavro.writer(file, schema, records, codec=codec, sync_interval=40, sync_marker=MARKER, **options)
    return file.getvalue()


def avro_blocks(content):
    """The rows of each block, and where it ends."""
    found, end = [], content.index(MARKER) + 16
    for block in fastavro.block_reader(io.BytesIO(content)):
        end = content.index(MARKER, end) + 16
        found.append(([(True, [str(row["id"]), row["s"] or ""]) for row in block], end))
    return found


FILE = avro()
BLOCKS = avro_blocks(FILE)
START, ENDS = FILE.index(MARKER) + 16, [end for _, end in BLOCKS]
assert len(BLOCKS) >= 4


def avro_rows(blocks):
    return [row for rows, _ in blocks for row in rows]


LOST = [(False, None)]
case("avro", "nothing", b"", [])
for codec in ("null", "deflate", "bzip2", "xz", "snappy"):
    content = avro(codec)
    case("avro", f"whole, {codec}", content, avro_rows(avro_blocks(content)))
case("avro", "a header alone", FILE[:START], [])
case("avro", "half a header", FILE[: START - 20], LOST)
case("avro", "the magic bytes alone", FILE[:4], LOST)
case("avro", "a text", b"id,s\n1,a\n", LOST)
case("avro", "cut behind a block", FILE[: ENDS[1]], avro_rows(BLOCKS[:2]))
case("avro", "cut within a block", FILE[: ENDS[2] - 5], avro_rows(BLOCKS[:2]) + LOST)
case("avro", "cut within a marker", FILE[: ENDS[2] - 16 + 3], avro_rows(BLOCKS[:2]) + LOST)
case("avro", "a byte behind the last block", FILE + b"\x01", avro_rows(BLOCKS) + LOST)
case("avro", "a damaged marker", FILE[: ENDS[1] - 1] + b"\xff" + FILE[ENDS[1] :], avro_rows(BLOCKS[:1]) + LOST + avro_rows(BLOCKS[3:]))
at = FILE.index(b"s4") + 1
case("avro", "a text that is no UTF-8", FILE[:at] + b"\xff" + FILE[at + 1 :], [LOST[0] if row[1][0] == "4" else row for row in avro_rows(BLOCKS)])
case("avro", "an unknown codec", FILE.replace(b"\x08null", b"\x08lzma", 1), LOST)
case("avro", "no JSON as its schema", FILE.replace(b'{"type"', b'["type"', 1), LOST)
case("avro", "a file behind a file", FILE[: ENDS[0]] + FILE[ENDS[0] : ENDS[1]], avro_rows(BLOCKS[:2]))

# Parquet as pyarrow writes it.
contract("parquet", ["id bigint required", "s string"], {"parquet": {}})


def parquet(table, **options):
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


IDS = pa.table({"id": pa.array([1, None, 3], pa.int64()), "s": ["a", "b", None]})
SHOWN = [(True, ["1", "a"]), (False, None), (True, ["3", ""])]
WHOLE = parquet(IDS)
case("parquet", "a null that is required", WHOLE, SHOWN)
case("parquet", "row groups of one", parquet(IDS, row_group_size=1), SHOWN)
case("parquet", "no dictionary, version 1", parquet(IDS, use_dictionary=False, version="1.0", data_page_version="1.0"), SHOWN)
case("parquet", "zstd and pages of version 2", parquet(IDS, compression="zstd", data_page_version="2.0"), SHOWN)
case("parquet", "no rows", parquet(IDS.slice(0, 0)), [])
case("parquet", "columns in another order, and more", parquet(pa.table({"z": [1, 2], "s": ["a", "b"], "id": [1, 2]})), [(True, ["1", "a"]), (True, ["2", "b"])])
case("parquet", "a narrow type", parquet(pa.table({"id": pa.array([1, -2], pa.int8()), "s": ["a", "b"]})), [(True, ["1", "a"]), (True, ["-2", "b"])])
case("parquet", "unsigned beyond the type", parquet(pa.table({"id": pa.array([1, 2**63], pa.uint64()), "s": ["a", "b"]})), [(True, ["1", "a"]), (False, None)])
case("parquet", "doubles that are whole and not", parquet(pa.table({"id": [1.0, 1.5, float("nan")], "s": ["a", "b", "c"]})), [(True, ["1", "a"]), (False, None), (False, None)])
case("parquet", "numbers as text", parquet(pa.table({"id": ["1", "x"], "s": ["a", "b"]})), [(True, ["1", "a"]), (False, None)])
case("parquet", "truth for a number", parquet(pa.table({"id": [True, False], "s": ["a", "b"]})), [(False, None), (False, None)])
case("parquet", "a required column that is missing", parquet(pa.table({"s": ["a", "b"]})), LOST)
for name, content in {
    "the magic bytes alone": b"PAR1",
    "the magic bytes twice": b"PAR1PAR1",
    "cut at its end": WHOLE[:-1],
    "cut in the middle": WHOLE[: len(WHOLE) // 2],
    "its end alone": WHOLE[-20:],
    "a footer longer than the file": WHOLE[:-8] + b"\xff\xff\xff\x7fPAR1",
    "a footer of nothing": WHOLE[:-8] + b"\0\0\0\0PAR1",
    "a footer of zeros": b"PAR1" + b"\0" * 100 + b"\x40\0\0\0PAR1",
    "an encrypted one": WHOLE[:-4] + b"PARE",
    "a text": b"id,s\n1,a\n",
    "a byte behind it": WHOLE + b"\n",
}.items():
    case("parquet", name, content, LOST)

# Compressed files of CSV: what the decompressed bytes hold, by the same reading as above.
TEXT = b'a,b,c\nd,"e\nf",g\nh,i\n\xff,j,k\nl,"m,n\no,p,q\n'
HALF = TEXT.index(b"f")


def frames(parts):
    return b"".join(bytes(cramjam.snappy.compress(part)) for part in parts)


def zipped(members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def zstandard(content):
    return bytes(cramjam.zstd.compress(content))


for ending, compress in {
    ".gz": lambda content: gzip.compress(content, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard,
    ".snappy": lambda content: frames([content]),
    ".zip": lambda content: zipped([("a.csv", content)]),
}.items():
    csv_case("words", f"malformed within {ending}", TEXT, compress, ending)
    csv_case("words", f"nothing within {ending}", b"", compress, ending)
    if ending != ".zip":
        csv_case("words", f"two streams, {ending}", TEXT, lambda content: compress(content[:HALF]) + compress(content[HALF:]), ending)
        csv_case("words", f"an empty stream between, {ending}", TEXT, lambda content: compress(content[:HALF]) + compress(b"") + compress(content[HALF:]), ending)
    case("words", f"text with the name {ending}", b"a,b,c\n", LOST, ending)
    case("words", f"cut within its first bytes, {ending}", compress(TEXT)[:5], LOST, ending)
csv_case("words", "stored", TEXT, lambda content: zipped([("a.csv", content)], zipfile.ZIP_STORED), ".zip")
csv_case("words", "UTF-16 within", b"\xff\xfe" + "a,b,\u00e9\nd,e\n".encode("utf-16le"), bz2.compress, ".bz2")
case("words", "two members", zipped([("a.csv", b"a,b,c\n"), ("b.csv", b"d,e,f\n")]), LOST, ".zip")
case("words", "another compression", bz2.compress(TEXT), LOST, ".gz")
encrypted = bytearray(zipped([("a.csv", b"a,b,c\n")]))
encrypted[6] = encrypted[encrypted.index(b"PK\x01\x02") + 8] = 1
case("words", "an encrypted member", bytes(encrypted), LOST, ".zip")


def written():
    lines = ",\n".join(json.dumps(one, ensure_ascii=True) for one in CASES)
    contracts = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in CONTRACTS.items())
    return f'{{"contracts": {{\n{contracts}\n}}, "cases": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    if "--check" not in sys.argv:
        TARGET.write_text(written())
        print(len(CASES), "cases,", TARGET.stat().st_size, "bytes")
    else:
        # Libraries compress in other bytes from version to version.
        plain = [[one if not one["ending"] else {**one, "bytes": ""} for one in cases] for cases in (CASES, json.loads(TARGET.read_text())["cases"])]
        if plain[0] != plain[1]:
            sys.exit(f"{TARGET} is not what {Path(__file__).name} writes: run it")
