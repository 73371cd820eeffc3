// Replicas with real parts in front and behind: one fetch for all of them, and kills that cost no pull.
import t from 'tap'
import { optionsFor } from '../requirements.ts'
import { pullThroughReplicas } from './replicas.ts'

const options = { ...optionsFor('replicas'), timeout: 120_000 }

t.test('one GET for each digest, whichever replica is asked', options, async (t) => {
  const { failures, gets, digests, pulls } = await pullThroughReplicas(t, {
    images: 8,
    pullers: 12,
    killEvery: 0,
    seconds: 1,
  })
  t.same(failures, [])
  t.ok(pulls >= 96)
  for (const digest of digests) t.ok((gets.get(digest) ?? 0) <= 1, `${digest}: ${gets.get(digest)}`)
})

t.test('replicas that are killed cost no pull', options, async (t) => {
  const { failures, kills } = await pullThroughReplicas(t, {
    images: 8,
    pullers: 6,
    killEvery: 3000,
    seconds: 15,
  })
  t.same(failures, [])
  t.ok(kills >= 2)
})
