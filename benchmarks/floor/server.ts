// The least that Node can do for a blob that nobody has yet: asked of the upstream, hashed, stored and passed on.
// `node server.ts SETTINGS`, a file. No pool, no limits, no failures, no second client of a download, no policy:
// what it costs is Node's, and what it costs without one of its steps tells what that step costs.
import { mkdirSync, openSync, readFileSync, writeSync } from 'node:fs'
import { createServer } from 'node:https'
import { createLarge } from './large.ts'
import type { Settings, Steps } from './steps.ts'
import { createTiny } from './tiny.ts'
import { createUpstream, createUpstreamInMemory } from './upstream.ts'

/** Above that a blob goes through in stages, bytes. */
const tinyLimit = 64 * 1024
/** Lines that are written at once. */
const linesAtOnce = 16

const settings = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Settings
const { folder, ca, server, client, originPort, size, without } = settings
mkdirSync(`${folder}/blobs`, { recursive: true })
const steps: Steps = {
  folder,
  has: (step) => !without.includes(step),
  upstream: without.includes('upstream')
    ? createUpstreamInMemory(size)
    : createUpstream({ port: originPort, ca, ...client }),
  log: createLog(openSync(`${folder}/access.log`, 'a')),
}
const serve = size > tinyLimit ? createLarge(steps) : createTiny(steps)

const listener = createServer({ ...server, ca, requestCert: true }, (request, response) => {
  serve(request.url ?? '', response)
})
listener.listen(0, '127.0.0.1', () => {
  const address = listener.address()
  if (typeof address === 'object') process.stdout.write(`listening on ${address?.port}\n`)
})

function createLog(fd: number): Steps['log'] {
  let lines: string[] = []
  return (line) => {
    lines.push(`{"time":${Date.now()},"level":"info","msg":"${line}"}\n`)
    if (lines.length < linesAtOnce) return
    writeSync(fd, lines.join(''))
    lines = []
  }
}
