// Replicas with real parts in front and behind: one fetch for all of them, kills that cost no pull, and a
// store that may ail.
import t from 'tap'
import { withObjectStore } from '../helpers/object-store.ts'
import { optionsFor } from '../requirements.ts'
import { pullThroughReplicas } from './replicas.ts'

const options = { ...optionsFor('replicas'), timeout: 120_000 }

t.test('one GET for each digest, whichever replica is asked', options, async (t) => {
  const { failures, wrong, fetches, pulls } = await pullThroughReplicas(t, {
    images: 8,
    pullers: 12,
    killEvery: 0,
    seconds: 1,
  })
  t.same([...failures, ...wrong], [])
  t.ok(pulls >= 96)
  t.ok(fetches.digests > 16)
  t.same(fetches.repeated, [])
})

t.test('replicas that are killed cost no pull', options, async (t) => {
  const { failures, wrong, kills } = await pullThroughReplicas(t, {
    images: 8,
    pullers: 6,
    killEvery: 3000,
    seconds: 20,
  })
  t.same([...failures, ...wrong], [])
  t.ok(kills.length >= 2)
})

t.test(
  'a store that ails costs no pull, and has all of it in the end',
  { ...options, ...withObjectStore() },
  async (t) => {
    const { failures, wrong, store } = await pullThroughReplicas(t, {
      images: 4,
      pullers: 4,
      killEvery: 3000,
      seconds: 25,
      hasStore: true,
    })
    t.same([...failures, ...wrong], [])
    t.same(store?.missing, [])
    t.ok(store?.isMended, 'what was damaged')
    t.match(store?.newcomer, { pulls: 4, failures: [], wrong: [] })
  },
)
