// What the gateway is like now, as the admin API tells it: times by ISO 8601, nothing that is secret.
import type { Condition } from '../../cache/cache.ts'
import type { KeptCache } from '../../cache/open-cache.ts'
import type { Reference } from '../../cache/index/image-queries.ts'
import { isDue, type Expiry } from '../../rules/expiry.ts'
import type { EndpointStatus } from '../../upstream/endpoints/choice.ts'
import type { UpstreamReport } from '../upstream-metrics.ts'

/** One image of the shelf; times are milliseconds since 1970. */
export interface ShelvedImage {
  /** The entry of the shelf that means it. */
  entry: string
  image: string
  digest?: string
  /** Absent: it is there. */
  missingSince?: number
  problem?: string
  /** Absent: nobody has looked yet. */
  checkedAt?: number
}

export interface ReloadFacts {
  part: string
  result: 'ok' | 'refused'
  /** Why it was refused, one sentence each. */
  problems: readonly string[]
}

export interface Eviction {
  /** Whole names of the image; none for content that is of no image. */
  images: readonly string[]
  bytes: number
}

const day = 86_400_000

/** `expiries`: those in use, of which the upstream's own are told with it. */
export function upstreamView(report: UpstreamReport, expiries: readonly Expiry[]) {
  const { upstream, offline, isQuotaShort, circuit, inUse, endpoints } = report
  const own = `upstreams.${upstream}.`
  const isOwn = ({ use }: Expiry) =>
    use.startsWith(own) && /^(?:endpoints\.\d+\.)?tls\./.test(use.slice(own.length))
  const { since, nextProbe, ...state } = circuit
  return {
    name: upstream,
    offline,
    isQuotaShort,
    circuit: { ...state, ...optional('since', since), ...optional('nextProbe', nextProbe) },
    inUse: inUse.url,
    endpoints: endpoints.map(endpointView),
    certificates: expiries.filter(isOwn).map((expiry) => certificateView(expiry)),
  }
}

function endpointView({ restsUntil, lastFailure, quota, ...endpoint }: EndpointStatus) {
  return {
    ...endpoint,
    ...optional('restsUntil', restsUntil),
    ...(lastFailure && { lastFailure: { ...lastFailure, at: isoTime(lastFailure.at) } }),
    ...(quota && {
      quota: { ...quota, window: quota.window / 1000, at: isoTime(quota.at) },
    }),
  }
}

export function certificateView({ expiresAt, ...expiry }: Expiry, now = Date.now()) {
  return {
    ...expiry,
    expires: isoTime(expiresAt),
    daysLeft: Math.floor((expiresAt - now) / day),
    isDue: isDue({ ...expiry, expiresAt }, now),
  }
}

export function shelfView(images: readonly ShelvedImage[]) {
  return {
    missing: images.filter(({ missingSince }) => missingSince !== undefined).length,
    images: images.map(({ missingSince, checkedAt, ...image }) => ({
      ...image,
      isMissing: missingSince !== undefined,
      ...optional('missingSince', missingSince),
      ...optional('checkedAt', checkedAt),
    })),
  }
}

/** What happened, with its time. */
export function happeningView<Happening extends { at: number }>({ at, ...facts }: Happening) {
  return { at: isoTime(at), ...facts }
}

export function downloadView({ place, ...download }: ReturnType<KeptCache['downloads']>[number]) {
  return { repository: `${place.upstream}/${place.repository}`, ...download }
}

export function holdingView({ heldBytes, entries, maxBytes, freeBytes }: Condition) {
  return { bytes: heldBytes, entries, maxBytes, ...(freeBytes !== undefined && { freeBytes }) }
}

/** The whole name of an image. */
export function formatReference({ upstream, repository, reference }: Reference): string {
  return `${upstream}/${repository}${reference.includes(':') ? '@' : ':'}${reference}`
}

function optional(name: string, ms: number | undefined): Record<string, string> {
  return ms === undefined ? {} : { [name]: isoTime(ms) }
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
