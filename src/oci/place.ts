// Where content is pulled from: one repository of one configured upstream.

export interface Place {
  /** The configured name of the upstream, such as `docker.io`. */
  upstream: string
  /** Repository as the upstream knows it, such as `library/alpine`. */
  repository: string
  /** On whose behalf, where upstreams are shared among clients; tells them apart and nothing else. */
  client?: string | undefined
  /** The request that it is asked for, as the client or the gateway has named it. */
  requestId?: string | undefined
  /** Nobody waits for it: it comes after what somebody does, and waits for a link that is down. */
  isBackground?: boolean
  /** A replica asks, which would have been the one to ask otherwise: no other replica is asked for it. */
  isOfReplica?: boolean | undefined
  /** The gateways that it was asked through, as `gatewaysIn` has them. */
  via?: readonly string[] | undefined
}

/** What of a place goes along with a request to its upstream. */
export function requestAt({
  upstream,
  repository,
  client,
  isOfReplica,
  via,
  requestId,
}: Place): Omit<Place, 'isBackground'> {
  return { upstream, repository, client, isOfReplica, via, requestId }
}
