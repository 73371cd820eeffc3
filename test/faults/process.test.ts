// Faults of the process: ended while clients pull, and without descriptors. Tried on a gateway that is a
// process of its own.
import t from 'tap'
import * as faults from '../helpers/upstream.ts'
import { optionsFor } from '../requirements.ts'
import { assertSound, bodyOf, startProcess } from './process-site.ts'
import { layer, layerPath } from './site.ts'

const isBlobGet = /^GET .*blobs/
const extra = { ...optionsFor('kill'), timeout: 90_000 }

t.test('SIGTERM while clients pull: they get all of it', extra, async (t) => {
  const site = await startProcess(t)
  const valve = faults.valveAfter(layer.bytes.length / 2)
  site.upstream.fail(faults.on(isBlobGet, valve.fault))
  const clients = await Promise.all(Array.from({ length: 20 }, async () => site.open(layerPath)))
  const bodies = clients.map(bodyOf)
  const { program, logged } = site.gateway()
  const ended = program.stop('SIGTERM')
  await logged('its end', ({ msg }) => String(msg).startsWith('ending'))
  valve.open()
  for (const body of await Promise.all(bodies)) t.equal(body, layer.digest)
  t.equal(await ended, 0)
  await site.start()
  await assertSound(t, site)
})

t.test('SIGTERM while an upstream stalls: cut after the grace, and said so', extra, async (t) => {
  const site = await startProcess(t)
  site.upstream.fail(faults.on(isBlobGet, faults.stallAfter(layer.bytes.length / 2)))
  const clients = await Promise.all(Array.from({ length: 5 }, async () => site.open(layerPath)))
  const bodies = clients.map(async (client) => bodyOf(client).catch(() => 'cut'))
  const { program, log } = site.gateway()
  t.equal(await program.stop('SIGTERM'), 1)
  t.same(
    await Promise.all(bodies),
    Array.from({ length: 5 }, () => 'cut'),
  )
  t.match(log().at(-1), { cut: 5, msg: /transfers were cut/ })
  site.upstream.fail()
  await site.start()
  await assertSound(t, site)
})

t.test('few descriptors, and more clients than they last for', extra, async (t) => {
  // Node raises the soft limit to the hard one by itself.
  const site = await startProcess(t, ['prlimit', '--nofile=72:72'])
  await site.gateway().logged('its limit', ({ limit }) => limit === 72)
  const gate = faults.gate()
  site.upstream.fail(faults.on(isBlobGet, gate.fault))
  const clients = Array.from({ length: 80 }, async () => site.pull(layerPath).catch(() => 'cut'))
  // Clients may have taken all that a connection to the upstream needs, which then is not asked.
  await Promise.race([gate.held(1), Promise.all(clients)])
  gate.open()
  const allowed = new Set<string | number>([layer.digest, 'cut', 503])
  for (const body of await Promise.all(clients)) t.ok(allowed.has(body), `${body}`)
  site.upstream.fail()
  await assertSound(t, site)
})
