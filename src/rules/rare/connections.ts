// The parts of undici that connections are made of, without its fetch, caches, interceptors and mocks: 26 modules
// instead of 109. What makes requests by itself needs the whole package: see packages.ts.
import { createRequire } from 'node:module'
import type * as Undici from 'undici'

const require = createRequire(import.meta.url)

export const Agent = require('undici/lib/dispatcher/agent.js') as typeof Undici.Agent
export const Pool = require('undici/lib/dispatcher/pool.js') as typeof Undici.Pool
export const buildConnector = require('undici/lib/core/connect.js') as typeof Undici.buildConnector
export const { HTTPParserError } = require('undici/lib/core/errors.js') as typeof Undici.errors
