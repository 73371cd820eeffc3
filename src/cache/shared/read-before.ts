// Answers in the place of an upstream what the object store has. Small content is verified as a whole and
// large content piece by piece before anything of it is passed on, so what is damaged there breaks no pull:
// a download goes on at the upstream, by Range, from the last byte that was right.
import { GatewayError } from '../../errors.ts'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { isOutage } from '../../oci/failure-scope.ts'
import {
  createSuccessiveFlow,
  type Flow,
  type OpenUpstream,
  type OriginRequest,
  type OriginResponse,
  type Receiver,
} from '../../oci/origin.ts'
import type { Place } from '../../oci/place.ts'
import type { LinkKind } from '../index/links.ts'
import type { StoreAccess } from './store-access.ts'
import type { SharedLink } from './layout.ts'
import { Damaged, Missing, verifiedPieces, type Piece } from './pieces.ts'

export interface ReadBeforeOptions {
  access: StoreAccess
  openUpstream: OpenUpstream
  linkOf: (
    place: Place,
    digest: Digest,
    kind: LinkKind,
    options: { isPatient: boolean },
  ) => Promise<LinkAnswer>
  /** The content is not there, though a repository is said to hold it. */
  onMissing: (digest: Digest) => void
  /** It was found wrong, and may lie there still. */
  isDamaged: (digest: Digest) => boolean
  /** Takes it out of the way. */
  onDamage: (digest: Digest) => void
}

/** `absent`: the store says so; `away`: nobody knows. */
export type LinkAnswer = SharedLink | 'absent' | 'away'

/** `served`: the receiver has heard all that it will. */
type Outcome = 'served' | 'absent' | 'away'

/** What is passed on at once, bytes: whoever is slow can say so in between. */
const stepBytes = 64 * 1024

interface Wanted {
  digest: Digest
  kind: LinkKind
}

export function readBefore(options: ReadBeforeOptions): OpenUpstream {
  return (request, receiver) => {
    const wanted = wantedOf(request)
    if (wanted === undefined) return options.openUpstream(request, receiver)
    const exchange = createExchange(receiver)
    void answer(options, { request, wanted, exchange, receiver })
    return exchange.flow
  }
}

interface Asked {
  request: OriginRequest
  wanted: Wanted
  exchange: Exchange
}

/** The store, the upstream, and the store again where nobody could be asked. Never rejects. */
async function answer(
  options: ReadBeforeOptions,
  { receiver, ...asked }: Asked & { receiver: Receiver },
): Promise<void> {
  const { request, exchange } = asked
  const outcome = await readShared(options, { ...asked, isPatient: false })
  if (outcome === 'served' || exchange.signal.aborted) return
  let hasStarted = false
  const lastly = async (error: GatewayError) => {
    const last = await readShared(options, { ...asked, isPatient: true })
    if (last !== 'served') exchange.tell((to) => to.fail(error))
  }
  exchange.use(
    options.openUpstream(request, {
      ...receiver,
      start(response) {
        hasStarted = true
        receiver.start(response)
      },
      fail(error) {
        const isAsked = hasStarted || !(isOutage(error) || isOffline(error))
        if (outcome === 'absent' || isAsked) receiver.fail(error)
        else void lastly(error)
      },
    }),
  )
}

function isOffline({ code }: GatewayError): boolean {
  return code === 'UNAVAILABLE'
}

/** What has a digest, of a registry. */
function wantedOf({ resource, url, repository }: OriginRequest): Wanted | undefined {
  const [kind, reference = '', ...others] = resource.split('/')
  if (url !== undefined || repository === '' || others.length > 0) return undefined
  if ((kind !== 'blobs' && kind !== 'manifests') || !isDigest(reference)) return undefined
  return { digest: reference, kind: kind === 'blobs' ? 'blob' : 'manifest' }
}

interface Reading extends Asked {
  isPatient: boolean
}

/** Never rejects. */
async function readShared(options: ReadBeforeOptions, reading: Reading): Promise<Outcome> {
  const { access, linkOf, onMissing, isDamaged, onDamage } = options
  const { request, wanted, exchange, isPatient } = reading
  const link = await linkOf(request, wanted.digest, wanted.kind, { isPatient })
  if (exchange.signal.aborted) return 'served'
  if (link === 'absent' || link === 'away') return link
  const { content = wanted.digest, size } = link
  if (isDamaged(content)) return 'absent'
  const part = partOf(request, size)
  if (request.method === 'HEAD') {
    exchange.tell((to) => to.start(headOf(part, wanted.digest)))
    exchange.tell((to) => to.end())
    return 'served'
  }
  if (access.isResting('read') && !isPatient) return 'away'
  const source = { access, content, size, isPatient, signal: exchange.signal }
  const told = { hasStarted: false, hasEnded: false }
  try {
    for await (const piece of verifiedPieces(source, part.from)) {
      if (!told.hasStarted) exchange.tell((to) => to.start(headOf(part, wanted.digest)))
      told.hasStarted = true
      await passOn(piece, part, exchange)
      if (piece.at + piece.bytes.length < part.to) continue
      told.hasEnded = true
      exchange.tell((to) => to.end())
      if (part.to < size) break
    }
    if (!told.hasEnded) throw new Damaged()
    return 'served'
  } catch (error) {
    if (exchange.signal.aborted || told.hasEnded) return 'served'
    if (error instanceof Damaged) onDamage(content)
    else if (error instanceof Missing) onMissing(content)
    else access.failed('read', error)
    const isNotThere = error instanceof Damaged || error instanceof Missing
    if (!told.hasStarted) return isNotThere ? 'absent' : 'away'
    exchange.tell((to) => to.fail(brokenOff(error)))
    return 'served'
  }
}

/** A part of some content, or all of it: offsets, `to` behind the last byte. */
interface Part {
  from: number
  to: number
  size: number
  isWhole: boolean
}

function partOf({ from, to }: OriginRequest, size: number): Part {
  const end = Math.min(to ?? size, size)
  return { from: Math.min(from ?? 0, end), to: end, size, isWhole: from === undefined }
}

function headOf({ from, to, size, isWhole }: Part, digest: Digest): OriginResponse {
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': String(to - from),
    'docker-content-digest': digest,
  }
  if (isWhole) return { status: 200, headers }
  return {
    status: 206,
    headers: { ...headers, 'content-range': `bytes ${from}-${to - 1}/${size}` },
  }
}

async function passOn({ at, bytes }: Piece, { from, to }: Part, exchange: Exchange): Promise<void> {
  const wanted = bytes.subarray(Math.max(0, from - at), to - at)
  for (let start = 0; start < wanted.length; start += stepBytes) {
    await exchange.whenResumed()
    exchange.tell((receiver) => receiver.data(wanted.subarray(start, start + stepBytes)))
  }
}

/** Worth another attempt, which goes on behind what has come. */
function brokenOff(cause: unknown): GatewayError {
  const message = 'the shared store broke off in the middle of a blob; ask again'
  return new GatewayError('UPSTREAM_FAILED', message, { reason: 'reset', cause })
}

interface Exchange {
  flow: Flow
  /** Aborted when the receiver wants no more. */
  signal: AbortSignal
  /** From now on this exchange is the one that goes on. */
  use: (flow: Flow) => void
  /** Unless it wants no more. */
  tell: (work: (receiver: Receiver) => void) => void
  whenResumed: () => void | Promise<void>
}

function createExchange(receiver: Receiver): Exchange {
  const controller = new AbortController()
  const hand = createSuccessiveFlow()
  let pause: PromiseWithResolvers<void> | undefined

  function goOn(): void {
    pause?.resolve()
    pause = undefined
  }

  return {
    signal: controller.signal,
    use: hand.use,
    tell(work) {
      if (!controller.signal.aborted) work(receiver)
    },
    whenResumed: () => pause?.promise,
    flow: {
      pause() {
        pause ??= Promise.withResolvers()
        hand.pause()
      },
      resume() {
        goOn()
        hand.resume()
      },
      abort() {
        controller.abort()
        goOn()
        hand.abort()
      },
    },
  }
}
