// Lines that go to files, pipes and readers that do not keep up or have gone away.
import { spawn, spawnSync } from 'node:child_process'
import { constants, openSync, closeSync, readFileSync, readSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createSink } from '../../src/log/sink.ts'

const source = JSON.stringify(join(import.meta.dirname, '../../src/log/sink.ts'))
const onLost = (lines: number) => `lost ${lines}\n`

/** Numbered lines, whose texts take more bytes than characters. */
function lines(count: number, size = 100): string[] {
  return Array.from({ length: count }, (_, n) => `${n} ${'ä€😀'.repeat(size / 10)}\n`)
}

function open(t: Test) {
  const file = join(t.testdir({ log: '' }), 'log')
  const fd = openSync(file, 'a')
  t.teardown(() => closeSync(fd))
  return { sink: createSink(fd, onLost), read: () => readFileSync(file, 'utf8') }
}

/** A named pipe whose ends do not wait: `take` reads what is in it. */
function openPipe(t: Test) {
  const path = join(t.testdir({}), 'pipe')
  spawnSync('mkfifo', [path])
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  const close = () => {
    if (isOpen) closeSync(reader)
    isOpen = false
  }
  let isOpen = true
  t.teardown(() => {
    close()
    closeSync(writer)
  })
  const buffer = Buffer.alloc(1_000_000)
  const take = (): Buffer => {
    try {
      return Buffer.from(buffer.subarray(0, readSync(reader, buffer)))
    } catch {
      return Buffer.alloc(0)
    }
  }
  return { sink: createSink(writer, onLost), take, close }
}

t.test('lines arrive whole and in order, in few writes', async (t) => {
  const { sink, read } = open(t)
  const all = lines(5000)
  for (const line of all) sink.write(line)
  sink.close()
  await delay(50)
  t.equal(read(), all.join(''))
})

t.test('what is gathered waits for a flush', async (t) => {
  const { sink, read } = open(t)
  sink.write('one\n')
  await delay(50)
  t.equal(read(), '')
  sink.flush()
  await delay(50)
  t.equal(read(), 'one\n')
  sink.close()
  t.equal(read(), 'one\n')
})

t.test('a line longer than a buffer', async (t) => {
  const { sink, read } = open(t)
  const all = ['short\n', `${'😀'.repeat(20_000)}\n`, 'end\n', `${'x'.repeat(16 * 1024 - 1)}\n`]
  for (const line of all) sink.write(line)
  sink.close()
  await delay(50)
  t.equal(read(), all.join(''))
})

t.test('after its end a line goes out at once', async (t) => {
  const { sink, read } = open(t)
  sink.close()
  sink.write('late\n')
  t.equal(read(), 'late\n')
})

t.test('a full pipe is waited for, and parts of writes go on where they ended', async (t) => {
  const { sink, take } = openPipe(t)
  const all = lines(20_000)
  for (const line of all) sink.write(line)
  sink.flush()
  const expected = Buffer.from(all.join(''))
  t.ok(expected.length > 10 * 64 * 1024, 'more than a pipe holds')
  const taken: Buffer[] = []
  for (let size = 0; size < expected.length;) {
    await delay(5)
    const part = take()
    taken.push(part)
    size += part.length
  }
  t.ok(Buffer.concat(taken).equals(expected))
})

t.test(
  'what one turn of the event loop fills goes out in one write, so that nothing piles up',
  async (t) => {
    const { sink, read } = open(t)
    const turn = lines(2400)
    for (let n = 0; n < 100; n += 1) {
      for (const line of turn) sink.write(line)
      await nextTurn()
    }
    sink.close()
    await delay(100)
    const expected = turn.join('').repeat(100)
    t.ok(Buffer.byteLength(expected) > 20 * 2 ** 20, 'more than may wait for a reader')
    t.ok(read() === expected)
  },
)

t.test('at the end a full pipe is waited for as well, but not for ever', async (t) => {
  const { sink, take } = openPipe(t)
  for (const line of lines(2000)) sink.write(line)
  sink.close()
  await delay(50)
  t.ok(take().length > 0, 'the pipe is full, and the process goes on')
})

t.test('a reader that has gone away costs its lines, and nothing else', async (t) => {
  const { sink, close } = openPipe(t)
  close()
  for (const line of lines(2000)) sink.write(line)
  sink.flush()
  await delay(50)
  sink.write('more\n')
  sink.close()
  t.pass('nothing is thrown')
})

t.test('what nobody takes is lost beyond a limit, and told', async (t) => {
  const { sink, take } = openPipe(t)
  const line = `${'x'.repeat(9999)}\n`
  for (let n = 0; n < 2000; n += 1) sink.write(line)
  let text = ''
  for (let quiet = 0; quiet < 30;) {
    await delay(10)
    const part = take().toString()
    quiet = part === '' ? quiet + 1 : 0
    text += part
  }
  sink.write('again\n')
  sink.flush()
  await delay(50)
  text += take().toString()
  const [, lost] = /\nlost (\d+)\nagain\n$/.exec(text) ?? []
  const arrived = text.split(line).length - 1
  t.equal(arrived + Number(lost), 2000)
  t.ok(Number(lost) > 0)
})

t.test('a process that ends by itself or by exit() leaves nothing behind', async (t) => {
  for (const end of ['sink.close()', "process.on('exit', sink.exit); process.exit(0)"]) {
    const script = `
      import { createSink } from ${source}
      const sink = createSink(1, () => 'lost')
      for (let n = 0; n < 3000; n += 1) sink.write(n + '${'x'.repeat(90)}\\n')
      ${end}
    `
    const child = spawn(process.execPath, ['--input-type=module', '-e', script])
    let text = ''
    child.stdout.on('data', (data: Buffer) => (text += data.toString()))
    await once(child, 'close')
    const expected = Array.from({ length: 3000 }, (_, n) => `${n}${'x'.repeat(90)}\n`)
    t.equal(text.length, expected.join('').length)
  }
})
