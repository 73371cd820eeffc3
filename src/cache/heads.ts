// Asks by HEAD where that works, and by GET where an upstream does HEAD wrongly, which is remembered.
import { GatewayError } from '../errors.ts'
import type { LinkKind } from './index/links.ts'

export interface Heads {
  /**
   * What `head` answers; what `get` does where HEAD does not work for this kind of content there:
   * `head` answers undefined, or fails with what says nothing of GET. Rejects as they do.
   */
  orGet: <Answer>(
    upstream: string,
    kind: LinkKind,
    asks: { head: () => Promise<Answer | undefined>; get: () => Promise<Answer> },
  ) => Promise<Answer>
}

/** How long GET is asked at once after that, ms. */
const rememberedFor = 10 * 60_000

export function createHeads(now: () => number): Heads {
  /** Since when, by upstream and kind. */
  const broken = new Map<string, number>()

  function works(key: string): boolean {
    const age = now() - (broken.get(key) ?? Number.NEGATIVE_INFINITY)
    return age < 0 || age >= rememberedFor
  }

  return {
    async orGet(upstream, kind, { head, get }) {
      const key = `${kind} ${upstream}`
      if (!works(key)) return get()
      const answer = await unlessBroken(head)
      if (answer !== undefined) return answer
      const got = await get()
      broken.set(key, now())
      return got
    },
  }
}

async function unlessBroken<Answer>(
  head: () => Promise<Answer | undefined>,
): Promise<Answer | undefined> {
  try {
    return await head()
  } catch (error) {
    if (saysNothingOfGet(error)) return undefined
    throw error
  }
}

/**
 * Registries refuse HEAD in every way: by 400, 403, 405, 406 and 5xx, by redirecting it to an address
 * that is signed for GET, by closing the connection.
 */
function saysNothingOfGet(error: unknown): boolean {
  if (!(error instanceof GatewayError)) return false
  const { code, reason = '', blame } = error
  if (code === 'TOOMANYREQUESTS' || reason === 'credentials_refused') return false
  return blame.status !== undefined || ['bad_response', 'denied', 'reset'].includes(reason)
}
