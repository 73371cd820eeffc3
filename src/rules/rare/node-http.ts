// node:http without what it loads for whoever imports it: an importing module is given all of its exports, and for
// `WebSocket`, which is one of them, Node loads a client of its own (nodejs/node#59686). 2 MiB.
import type * as Http from 'node:http'

export const { createServer, request, STATUS_CODES }: typeof Http =
  process.getBuiltinModule('node:http')
