// What replicas fetched from nginx, by its log, and what of it more than once.
import type { Digest } from '../../../src/oci/digest.ts'
import type { LoggedRequest } from '../lab/nginx.ts'
import type { Region } from './region.ts'
import type { Kill } from './troubles.ts'

/** A GET of content by its digest. */
export interface Fetch {
  digest: Digest
  /** The subject of the certificate of who asked. */
  client: string
  /** Its number among all requests. */
  at: number
}

/** Of digests that were fetched. */
export interface Fetches {
  digests: number
  /** Fetched more than once, and more often than kills excuse. */
  repeated: Digest[]
  /** Fetched again because a replica was killed that was fetching it. */
  interrupted: number
  /** Fetched again while a replica was away, after a kill, that alone had it. */
  alone: number
}

export function fetchesIn(requests: readonly LoggedRequest[]): Fetch[] {
  return requests.flatMap(({ method, target, client }, at) => {
    const digest = /(?:blobs|manifests)\/(sha256:[0-9a-f]{64})/.exec(target)?.[1] as Digest
    return method === 'GET' && digest !== undefined ? [{ digest, client, at }] : []
  })
}

export async function countFetches(
  { lab, before }: Region,
  kills: readonly Kill[],
): Promise<Fetches> {
  const all = fetchesIn(await lab.nginx.requests()).filter(({ at }) => at >= before)
  const byDigest = Map.groupBy(all, ({ digest }) => digest)
  const counted: Fetches = { digests: byDigest.size, repeated: [], interrupted: 0, alone: 0 }
  for (const [digest, fetches] of byDigest) {
    const times = fetches.map(({ at }) => at)
    const again = times.length - 1
    if (again === 0) continue
    // Each kill excuses one fetch of a digest.
    const interrupted = kills.filter(
      ({ fetching, from }) => fetching.has(digest) && times.some((at) => at >= from),
    )
    const alone = kills.filter(
      (kill) => kill.alone.has(digest) && times.some((at) => at >= kill.from && at < kill.to),
    )
    if (again > interrupted.length + alone.length) counted.repeated.push(digest)
    else if (again <= interrupted.length) counted.interrupted += 1
    else counted.alone += 1
  }
  return counted
}
