// Who uses a cache folder holds its lock, and nobody else does.
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { enter } from '../../../src/cache/disk/presence.ts'
import { startSite } from '../../helpers/cache.ts'

/** Whether a process that comes now would be alone with the folder, and clean up. */
function isUnused(dir: string): boolean {
  let isAlone = false
  enter(join(dir, 'lock'), () => (isAlone = true)).leave()
  return isAlone
}

t.test('a cache that cannot be opened leaves its folder to others', async (t) => {
  const { dir, cache, open } = await startSite(t)
  t.notOk(isUnused(dir))
  await cache.close()
  t.ok(isUnused(dir))
  const index = new DatabaseSync(join(dir, 'index.db'))
  index.exec('PRAGMA user_version = 1000')
  index.close()
  t.throws(() => open(), /newer version/)
  t.ok(isUnused(dir))
})
