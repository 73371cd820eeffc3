// When a part is reloaded, when it is refused, and what is told of it.
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { UsageError } from '../../src/errors.ts'
import {
  createReloader,
  problemsOf,
  type Prepared,
  type ReloadResult,
  type ReloadScope,
} from '../../src/listener/reload.ts'
import { until } from '../helpers/cache.ts'
import { recordingLog } from '../helpers/listener.ts'

// Nothing of the product keeps a process alive for a file that may change one day.
const alive = setInterval(() => undefined, 60_000)
t.teardown(() => clearInterval(alive))

/** Context of two files each, which are right if both say the same; `inUse` is what was swapped in. */
function rig(t: Test, ...names: string[]) {
  const folder = t.testdir({})
  const inUse: Record<string, string> = {}
  const attempts: Record<string, number> = {}
  const file = (part: string, kind: string) => join(folder, `${part}.${kind}`)
  const content = new Map<string, string>()
  const write = (part: string, kind: string, text: string) => {
    content.set(file(part, kind), text)
    writeFileSync(`${file(part, kind)}.new`, text)
    renameSync(`${file(part, kind)}.new`, file(part, kind))
  }
  const discarded: string[] = []
  const listeners = names.map((name): ReloadScope => {
    for (const kind of ['crt', 'key']) write(name, kind, 'one')
    return {
      name,
      files: () => [file(name, 'crt'), file(name, 'key')],
      async prepare() {
        attempts[name] = (attempts[name] ?? 0) + 1
        const [crt, key] = ['crt', 'key'].map((kind) => content.get(file(name, kind)) ?? '')
        await new Promise((resolve) => setTimeout(resolve, 5))
        const wrong = new UsageError([{ path: `${name}.key`, message: 'does not belong' }])
        const problems = crt === key ? [] : problemsOf(name, wrong)
        return {
          parts: [{ part: name, problems, facts: { expires: crt } }],
          take: () => void (inUse[name] = crt ?? ''),
          discard: () => void discarded.push(name),
        }
      },
    }
  })
  const everything: ReloadScope = {
    name: 'config',
    files: () => [],
    async prepare(): Promise<Prepared> {
      const all = await Promise.all(listeners.map(async ({ prepare }) => prepare()))
      return {
        parts: all.flatMap(({ parts }) => parts),
        take: () => all.forEach(({ take }) => take()),
        discard: () => all.forEach(({ discard }) => discard()),
      }
    },
  }
  const { log, lines } = recordingLog()
  const results: ReloadResult[] = []
  const waiting: ((result: ReloadResult) => void)[] = []
  const reloader = createReloader({
    everything,
    listeners,
    log,
    onResult(result) {
      results.push(result)
      waiting.shift()?.(result)
    },
  })
  t.teardown(() => reloader.close())
  const next = () => new Promise<ReloadResult>((resolve) => waiting.push(resolve))
  return { reloader, write, inUse, attempts, discarded, lines, results, next }
}

t.test('a part is reloaded when its files change, alone', async (t) => {
  const { write, inUse, attempts, lines, next } = rig(t, 'listen', 'admin')
  const told = next()
  write('listen', 'crt', 'two')
  write('listen', 'key', 'two')
  t.match(await told, { part: 'listen', result: 'ok' })
  t.same(inUse, { listen: 'two' })
  t.notOk('admin' in attempts)
  t.match(lines, [{ level: 30, msg: 'reloaded', part: 'listen', expires: 'two' }])
})

t.test('half of a pair is waited for', async (t) => {
  const { write, inUse, attempts, results, lines, next } = rig(t, 'listen')
  const told = next()
  write('listen', 'crt', 'two')
  while (attempts.listen === undefined) await new Promise((resolve) => setTimeout(resolve, 5))
  write('listen', 'key', 'two')
  t.match(await told, { part: 'listen', result: 'ok' })
  t.same(inUse, { listen: 'two' })
  t.equal(results.length, 1)
  t.notOk(lines.some(({ level }) => level === 50))
})

t.test('what stays wrong is refused once, and comes right later', async (t) => {
  const { write, inUse, attempts, results, lines, next } = rig(t, 'listen')
  const told = next()
  write('listen', 'crt', 'two')
  t.match(await told, { part: 'listen', result: 'refused' })
  t.same(inUse, {})
  t.equal(attempts.listen, 4)
  t.match(lines, [
    {
      level: 50,
      msg: /^reload refused/,
      part: 'listen',
      problems: [{ path: 'listen.key', message: 'does not belong' }],
    },
  ])
  const later = next()
  write('listen', 'key', 'two')
  t.match(await later, { part: 'listen', result: 'ok' })
  t.equal(results.length, 2)
})

t.test('SIGHUP reloads everything, or nothing', async (t) => {
  const { reloader, write, inUse, results, lines, discarded } = rig(t, 'listen', 'admin')
  const onHangUp = new Promise<boolean>((resolve) => {
    process.once('SIGHUP', () => resolve(reloader.reload()))
  })
  process.kill(process.pid, 'SIGHUP')
  t.equal(await onHangUp, true)
  t.same(inUse, { listen: 'one', admin: 'one' })
  t.match(results, [
    { part: 'listen', result: 'ok' },
    { part: 'admin', result: 'ok' },
  ])
  t.same(discarded, [])
  inUse.listen = 'untouched'
  write('admin', 'crt', 'two')
  t.equal(await reloader.reload(), false)
  t.match(inUse, { listen: 'untouched', admin: 'one' })
  t.match(results.at(-1), { part: 'admin', result: 'refused' })
  t.ok(discarded.includes('listen'), 'what was prepared and not taken is let go of')
  t.ok(lines.some(({ msg, part }) => msg !== 'reloaded' && part === 'admin'))
})

t.test('a part that breaks in an unforeseen way is refused as well', async (t) => {
  const { log } = recordingLog()
  const results: ReloadResult[] = []
  const everything = { name: 'x', files: () => [], prepare: () => Promise.reject(new Error('odd')) }
  const onResult = (result: ReloadResult) => void results.push(result)
  const reloader = createReloader({ everything, listeners: [], log, onResult })
  t.equal(await reloader.reload(), false)
  t.match(results, [{ part: 'x', result: 'refused' }])
  reloader.close()
  t.equal(await reloader.reload(), false, 'nothing is tried again once it is closed')
})

t.test('two at once: the later one begins when the one before has ended', async (t) => {
  const { log } = recordingLog()
  const taken: number[] = []
  const begun: PromiseWithResolvers<void>[] = []
  const scope: ReloadScope = {
    name: 'config',
    files: () => [],
    async prepare() {
      const turn = Promise.withResolvers<void>()
      const number = begun.push(turn)
      await turn.promise
      return { parts: [], take: () => void taken.push(number), discard: () => undefined }
    },
  }
  const reloader = createReloader({
    everything: scope,
    listeners: [],
    log,
    onResult: () => undefined,
  })
  t.teardown(() => reloader.close())
  const both = Promise.all([reloader.reload(), reloader.reload()])
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(begun.length, 1)
  begun[0]?.resolve()
  await until(() => begun.length === 2, 'the second one')
  t.same(taken, [1])
  begun[1]?.resolve()
  t.same(await both, [true, true])
  t.same(taken, [1, 2])
})

t.test('what a change began gives way to a reload that came later', async (t) => {
  const { reloader, write, attempts, results } = rig(t, 'listen')
  write('listen', 'crt', 'two')
  await until(() => attempts.listen === 1, 'the change')
  t.equal(await reloader.reload(), false)
  // The first one would have told of its last attempt by now.
  t.match(results, [{ part: 'listen', result: 'refused' }])
  t.equal(attempts.listen, 5)
})

t.test('closed while files are wrong, it tries no more and watches nothing', async (t) => {
  const before = countWatches()
  const { reloader, write, attempts } = rig(t, 'listen')
  t.ok(countWatches() > before)
  write('listen', 'crt', 'two')
  await until(() => attempts.listen === 1, 'the change')
  reloader.close()
  t.equal(countWatches(), before)
  // Longer than the first pause.
  await new Promise((resolve) => setTimeout(resolve, 400))
  t.equal(attempts.listen, 1)
})

/** Of the kernel, for this process: inotify(7). */
function countWatches(): number {
  const infos = readdirSync('/proc/self/fdinfo').flatMap((fd) => {
    try {
      return readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').match(/^inotify wd:/gm) ?? []
    } catch {
      // It was that of the folder itself.
      return []
    }
  })
  return infos.length
}
