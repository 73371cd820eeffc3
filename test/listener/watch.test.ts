// Changes of real files, made in every way that certificates are replaced.
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { watchFiles } from '../../src/listener/watch.ts'

// Nothing of the product keeps a process alive for a file that may change one day.
const alive = setInterval(() => undefined, 60_000)
t.teardown(() => clearInterval(alive))

/** Watches `names` in a folder; `next` is the next set of names that is told. */
function watching(t: Test, names: string[], since?: number) {
  const folder = t.testdir({ 'a.crt': 'a', 'b.key': 'b', other: 'c' })
  const told: string[][] = []
  const waiting: ((names: string[]) => void)[] = []
  const watch = watchFiles(
    names.map((name) => join(folder, name)),
    (files) => {
      const changed = files.map((file) => file.slice(folder.length + 1))
      const resolve = waiting.shift()
      if (resolve === undefined) told.push(changed)
      else resolve(changed)
    },
    since,
  )
  t.teardown(() => watch.close())
  const next = async () => told.shift() ?? new Promise<string[]>((resolve) => waiting.push(resolve))
  return { folder, told, next, at: (name: string) => join(folder, name) }
}

t.test('written in place, appended to, renamed over, removed', async (t) => {
  const { at, next } = watching(t, ['a.crt', 'b.key'])
  writeFileSync(at('a.crt'), 'A')
  t.same(await next(), ['a.crt'])
  appendFileSync(at('b.key'), 'B')
  t.same(await next(), ['b.key'])
  writeFileSync(at('new'), 'new')
  renameSync(at('new'), at('a.crt'))
  t.same(await next(), ['a.crt'])
  rmSync(at('a.crt'))
  t.same(await next(), ['a.crt'])
  writeFileSync(at('a.crt'), 'again')
  t.same(await next(), ['a.crt'])
})

t.test('a burst is told once, other files not at all', async (t) => {
  const { at, next, told } = watching(t, ['a.crt', 'b.key'])
  writeFileSync(at('other'), 'x')
  writeFileSync(at('a.crt'), '1')
  writeFileSync(at('b.key'), '2')
  t.same(await next(), ['a.crt', 'b.key'])
  t.same(told, [])
})

t.test('the links of a Kubernetes volume', async (t) => {
  const folder = t.testdir({ '..v1': { 'tls.crt': 'one' }, '..v2': { 'tls.crt': 'two' } })
  symlinkSync('..v1', join(folder, '..data'))
  symlinkSync('..data/tls.crt', join(folder, 'tls.crt'))
  const file = join(folder, 'tls.crt')
  const changed = new Promise<string[]>((resolve) => {
    const watch = watchFiles([file], resolve)
    t.teardown(() => watch.close())
  })
  symlinkSync('..v2', join(folder, '..data_tmp'))
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
  t.same(await changed, [file])
})

t.test('a folder that is replaced, and one that comes later', async (t) => {
  const { at, next } = watching(t, ['later/c.crl'])
  mkdirSync(at('later'))
  writeFileSync(at('later/c.crl'), '1')
  t.same(await next(), ['later/c.crl'])
  mkdirSync(at('fresh'))
  writeFileSync(at('fresh/c.crl'), '2')
  renameSync(at('later'), at('old'))
  renameSync(at('fresh'), at('later'))
  t.same(await next(), ['later/c.crl'])
})

t.test('what has changed before the watch began', async (t) => {
  const { next } = watching(t, ['b.key'], Date.now() - 60_000)
  t.same(await next(), ['b.key'])
})
