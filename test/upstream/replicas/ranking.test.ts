import t from 'tap'
import { ownedKey, rank } from '../../../src/upstream/replicas/ranking.ts'

const members = ['10.0.0.1:5443', '10.0.0.2:5443', '10.0.0.3:5443']
const keys = Array.from({ length: 3000 }, (_, index) => `sha256:${index}`)

t.test('everybody comes to the same order, however the members are listed', async (t) => {
  for (const key of keys.slice(0, 50)) {
    t.same(rank(members, key), rank(members.toReversed(), key))
    t.same(rank(members, key).toSorted(), members)
  }
})

t.test('each owns a share, and what another loses is all that moves', async (t) => {
  const owners = Map.groupBy(keys, (key) => rank(members, key)[0] ?? '')
  for (const member of members) {
    const share = owners.get(member)?.length ?? 0
    t.ok(share > 800 && share < 1200, `${member} owns ${share} of 3000`)
  }
  const [gone = '', ...left] = members
  for (const key of keys) {
    const [owner, next] = rank(members, key)
    const now = rank(left, key)[0]
    if (now !== (owner === gone ? next : owner)) t.fail(`${key} has moved without need`)
  }
})

t.test('content is owned by its digest, everything else by its name', async (t) => {
  const digest = `sha256:${'a'.repeat(64)}`
  t.equal(ownedKey('docker.io', 'library/a', `blobs/${digest}`), digest)
  t.equal(ownedKey('quay.io', 'other', `manifests/${digest}`), digest)
  t.equal(ownedKey('docker.io', 'a/b', 'manifests/1.0'), 'docker.io/a/b/manifests/1.0')
  t.equal(ownedKey('docker.io', 'a/b', 'tags/list?n=1000'), 'docker.io/a/b/tags/list')
})
