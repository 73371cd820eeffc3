// The bounds of a tar: what is one too many, what leads in circles, what is there twice.
import { Readable } from 'node:stream'
import t from 'tap'
import { pack, type Header } from 'tar-stream'
import { expansionGuard } from '../../src/transfer/bad-archive.ts'
import { scanTar } from '../../src/transfer/archive/tar-scan.ts'

const block = 512

async function scan(entries: (Partial<Header> & { name: string; content?: string })[]) {
  const tar = pack()
  for (const { content = '', ...header } of entries) tar.entry(header, content)
  tar.finalize()
  const bytes = Buffer.concat(await Readable.from(tar).toArray())
  return scanTar(Readable.from([bytes]), bytes.length)
}

const link = (name: string, linkname: string) => ({ name, type: 'symlink' as const, linkname })

t.test('files with their places, links followed', async (t) => {
  const files = await scan([
    { name: 'a', content: 'first' },
    link('b', 'a'),
    link('c', 'b'),
    { name: 'd', type: 'link', linkname: 'a' },
    link('nowhere', 'absent'),
  ])
  t.same(files.get('a'), { offset: block, size: 5 })
  for (const name of ['b', 'c', 'd']) t.same(files.get(name), files.get('a'), name)
  t.notOk(files.has('nowhere'))
})

t.test('links that lead in a circle lead nowhere', { timeout: 20_000 }, async (t) => {
  const files = await scan([
    { name: 'a', content: 'x' },
    link('one', 'two'),
    link('two', 'one'),
    link('self', 'self'),
  ])
  t.same([...files.keys()], ['a'])
})

t.test('a name that is there twice', async (t) => {
  const twice = /^(\.\/)?b: is there twice$/
  await t.rejects(scan([{ name: 'b' }, { name: 'b' }]), { message: twice })
  await t.rejects(scan([{ name: 'a' }, link('b', 'a'), link('b', 'a')]), { message: twice })
  await t.rejects(scan([{ name: 'a' }, link('b', 'a'), { name: './b' }]), { message: twice })
  await t.rejects(scan([{ name: 'b' }, link('b', 'a')]), { message: twice })
})

/** A tar of `count` entries, empty files but for the last, which is a link: made quickly. */
async function manyEntries(count: number): Promise<[Readable, number]> {
  const headerOf = async (header: Partial<Header> & { name: string }) => {
    const tar = pack()
    tar.entry(header, '')
    tar.finalize()
    return Buffer.concat(await Readable.from(tar).toArray()).subarray(0, block)
  }
  const template = await headerOf({ name: 'f'.repeat(8) })
  const bytes = Buffer.alloc((count + 2) * block)
  for (let at = 0; at < count - 1; at += 1) {
    const header = bytes.subarray(at * block, (at + 1) * block)
    template.copy(header)
    header.write(String(at).padStart(8, '0'), 0, 'latin1')
    header.write(' '.repeat(8), 148, 'latin1')
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  }
  const last = await headerOf(link('last', '00000000'))
  last.copy(bytes, (count - 1) * block)
  const chunks = Array.from({ length: Math.ceil(bytes.length / 2 ** 20) }, (_, at) =>
    bytes.subarray(at * 2 ** 20, (at + 1) * 2 ** 20),
  )
  return [Readable.from(chunks), bytes.length]
}

t.test('a hundred thousand entries, and not one more', async (t) => {
  const tar = await manyEntries(100_001)
  await t.rejects(scanTar(...tar), /^last: is one entry more than the 100000/)
})

t.test(
  'a bomb is large and expands much; small layers and large ones that expand little are none',
  async (t) => {
    const mebibyte = 2 ** 20
    t.doesNotThrow(() => expansionGuard('small', 1024)(300 * 1024), '1 KiB, 300 times')
    t.doesNotThrow(() => expansionGuard('edge', 1024)(256 * mebibyte))
    t.throws(() => expansionGuard('bomb', 1024)(256 * mebibyte + 1), /^bomb: expands/)
    t.doesNotThrow(() => expansionGuard('large', 2 * mebibyte)(400 * mebibyte))
    const guard = expansionGuard('large', 2 * mebibyte)
    guard(400 * mebibyte)
    t.throws(() => guard(1), /more than 200 times/, 'what came before counts')
  },
)
