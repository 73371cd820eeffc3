import t from 'tap'
import { optionsFor } from '../requirements.ts'
import { pullWithShortLived } from './short-lived.ts'

t.setTimeout(180_000)

t.test(
  'certificates of 20 seconds',
  { ...optionsFor('short-lived'), timeout: 150_000 },
  async (t) => {
    const { renewals, pulls, failures } = await pullWithShortLived(t, { seconds: 35, lifetime: 20 })
    t.comment(`${renewals} renewals, ${JSON.stringify(pulls)}`)
    t.same(failures, [])
    t.ok(renewals >= 2, 'every certificate in use has ended at least once')
    t.match(pulls, { containerd: Number, skopeo: Number, 'one connection': Number })
  },
)
