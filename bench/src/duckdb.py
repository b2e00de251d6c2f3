"""DuckDB behind a pipe, for `bench query`: a line {"sql": ..., "params": [...]} in, {"ms": ..., "rows": [...]} out."""
import json
import sys
import time

import duckdb

files = json.loads(sys.stdin.readline())
con = duckdb.connect()
con.execute("SET enable_object_cache = true")
con.execute("SET TimeZone = 'UTC'")
con.execute("SET VARIABLE files = ?", [files])
try:
    con.execute("SET parquet_metadata_cache = true")
except duckdb.Error:
    pass
print(json.dumps({"version": duckdb.__version__, "threads": con.execute("SELECT current_setting('threads')").fetchone()[0]}), flush=True)
for line in sys.stdin:
    ask = json.loads(line)
    began, cpu = time.perf_counter(), time.process_time()
    table = con.execute(ask["sql"], ask["params"]).fetch_arrow_table()
    ms, cpu_ms = (time.perf_counter() - began) * 1e3, (time.process_time() - cpu) * 1e3
    # The first two columns are enough to compare the answers.
    rows = list(zip(*(table.column(i).to_pylist() for i in range(2))))
    print(json.dumps({"ms": ms, "cpu_ms": cpu_ms, "rows": [[str(v) for v in r] for r in rows]}), flush=True)
