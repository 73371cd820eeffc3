// The buffers of downloads go from one to the next, and what is kept of one stays as it is.
import t from 'tap'
import { createStages } from '../../../src/cache/fill/stages.ts'

const size = 256 * 1024

/** One stage with `text` all over it, as if it had been hashed and written. */
function fill(stages: ReturnType<typeof createStages>, text: string) {
  const stage = stages.current()
  stage.buffer.fill(text)
  stage.filled = stage.buffer.length
  stage.flushed = stage.buffer.length
  return stage
}

t.test('a buffer goes to the next download, once it is written and read', async (t) => {
  const stages = createStages(2 * size, false)
  const stage = fill(stages, 'a')
  stage.writes = 1
  stages.shift(Infinity)
  t.equal(stages.stages.length, 1, 'not while it is being written')
  stage.writes = 0
  stages.shift(size - 1)
  t.equal(stages.stages.length, 1, 'not while somebody needs its last byte')
  stages.shift(size)
  t.equal(createStages(undefined, false).current().buffer, stage.buffer)
})

t.test('a buffer on loan goes nowhere before it is given back', async (t) => {
  const stages = createStages(2 * size, false)
  const { buffer } = fill(stages, 'a')
  const [first, second] = [stages.lend(0, size), stages.lend(size - 2, size - 1)]
  stages.shift(Infinity)
  t.equal(stages.lend(0, size), undefined, 'it is not lent any more')
  first?.giveBack()
  t.not(fill(createStages(undefined, false), 'b').buffer, buffer)
  t.equal(second?.bytes.toString(), 'a')
  second?.giveBack()
  t.equal(createStages(undefined, false).current().buffer, buffer)
})

t.test('what is kept is not in a buffer that goes on', async (t) => {
  // Of unknown size, and of one that is told, but too large to stay in memory.
  for (const told of [undefined, size]) {
    const stages = createStages(told, false)
    fill(stages, 'a')
    const whole = stages.whole()
    stages.shift(Infinity)
    fill(createStages(undefined, false), 'b')
    t.ok(whole?.equals(Buffer.alloc(size, 'a')))
  }
})

t.test('what is small keeps its buffer', async (t) => {
  const stages = createStages(size, true)
  const { buffer } = fill(stages, 'a')
  stages.shift(Infinity)
  t.equal(stages.whole(), buffer)
  t.not(createStages(undefined, false).current().buffer, buffer)
})
