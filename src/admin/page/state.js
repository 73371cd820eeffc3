// What the events of the admin API tell, topic by topic: docs/reference/api/admin.yaml has the whole of it.

/**
 * @typedef {{
 *   kind: 'certificate' | 'crl'
 *   use: string
 *   file: string
 *   name: string
 *   expires: string
 *   daysLeft: number
 *   isDue: boolean
 * }} Certificate
 */

/**
 * @typedef {{
 *   url: string
 *   gateway: boolean
 *   mode: string
 *   restsUntil?: string
 *   lastFailure?: { at: string; reason: string; message: string; cause?: string }
 *   quota?: { limit: number; remaining: number }
 * }} Endpoint
 */

/**
 * @typedef {{
 *   name: string
 *   offline: boolean
 *   isQuotaShort: boolean
 *   circuit: { state: 'closed' | 'open' | 'half-open'; since?: string; nextProbe?: string }
 *   inUse: string
 *   endpoints: Endpoint[]
 *   certificates: Certificate[]
 * }} Upstream
 */

/**
 * @typedef {{
 *   repository: string
 *   digest: string
 *   size?: number
 *   bytes: number
 *   readers: number
 * }} Download
 */

/**
 * @typedef {{
 *   at: string
 *   who?: string
 *   client?: string
 *   action?: string
 *   repository?: string
 *   reason: string
 * }} Refusal
 */

/**
 * @typedef {{
 *   at: number
 *   served: number
 *   fetched: number
 *   hits: number
 *   misses: number
 * }} TrafficSample
 */

/**
 * @typedef {{
 *   name: string
 *   digest: string
 *   size: number
 *   ownSize: number
 *   missing: number
 *   pinnedBy: string[]
 *   lastPull: string
 * }} Image
 */

/**
 * @typedef {{
 *   gateway?: { version: string; started: string }
 *   health?: { ok: boolean; problems: string[]; warnings: string[] }
 *   holding?: { bytes: number; entries: number; maxBytes: number; freeBytes?: number }
 *   downloads?: Download[]
 *   upstreams?: Upstream[]
 *   shelf?: { missing: number; images: { image: string; isMissing: boolean; problem?: string }[] }
 *   certificates?: Certificate[]
 *   sessions?: { identity: string; how: string; connections: number; addresses: string[] }[]
 *   reloads?: { at: string; part: string; result: 'ok' | 'refused'; problems: string[] }[]
 *   refusals?: Refusal[]
 *   evictions?: { at: string; images: string[]; bytes: number }[]
 *   traffic?: TrafficSample[]
 * }} State
 */

/**
 * Something that an operator should look at; `bad`: clients notice; `advice`: what to do.
 * @typedef {{
 *   level: 'bad' | 'warn'
 *   title: string
 *   advice: string
 * }} Concern
 */

export {}
