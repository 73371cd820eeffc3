// Where content is pulled from, one repository of one configured upstream, and for which request.

export interface Place {
  /** The configured name of the upstream, such as `docker.io`. */
  upstream: string
  /** Repository as the upstream knows it, such as `library/alpine`. */
  repository: string
  /** On whose behalf, where upstreams are shared among clients; tells them apart and nothing else. */
  client?: string | undefined
  /** The request that it is asked for, as the client or the gateway has named it. */
  requestId?: string | undefined
  /** The step that needs it, where it is traced. */
  span?: Span | undefined
  /** Nobody waits for it: it comes after what somebody does, and waits for a link that is down. */
  isBackground?: boolean
  /** A replica asks, which would have been the one to ask otherwise: no other replica is asked for it. */
  isOfReplica?: boolean | undefined
  /** Another worker of this gateway asks: none of them is asked for it. */
  isOfWorker?: boolean | undefined
  /** The gateways that it was asked through, as `gatewaysIn` has them. */
  via?: readonly string[] | undefined
}

/** What of a place goes along with a request to its upstream. */
export function requestAt({
  upstream,
  repository,
  client,
  isOfReplica,
  isOfWorker,
  via,
  requestId,
  span,
}: Place): Omit<Place, 'isBackground'> {
  return { upstream, repository, client, isOfReplica, isOfWorker, via, requestId, span }
}

/** Attributes by the semantic conventions of OpenTelemetry, or of our own below `portcullis.`. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>

/** One step on the way of a request. Times are those of `performance.now()`; now unless told. */
export interface Span {
  /** For whoever is asked because of it (W3C Trace Context). */
  traceparent: string
  child: (name: string, attributes: SpanAttributes, begun?: number) => Span
  end: (attributes: SpanAttributes, ended?: number) => void
}

/** Begins the span of a request, below the one in its `traceparent` header. */
export type BeginSpan = (traceparent: string | undefined, begun: number) => Span
