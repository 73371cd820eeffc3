// Who is connected: the open connections of the listeners, by identity.
import { callerOf } from '../../identity/certificate.ts'
import { callerName } from '../../identity/identity.ts'
import { connectionsOf } from '../../listener/connections.ts'
import type { ListenerServer } from '../../listener/server.ts'

/** The connections of one identity. */
export interface Session {
  /** Such as `CN=edge-1`, or `anonymous`: whoever shows a token does so with each request. */
  identity: string
  how: 'anonymous' | 'certificate' | 'refused'
  connections: number
  /** Where they come from; the first ten. */
  addresses: string[]
}

const mostAddresses = 10

/** Those with the most connections first. */
export function sessionsOf(servers: readonly ListenerServer[]): Session[] {
  const sessions = new Map<string, Session>()
  for (const socket of servers.flatMap((server) => [...connectionsOf(server).ready])) {
    const caller = callerOf(socket)
    const identity = caller.kind === 'refused' ? caller.reason : callerName(caller)
    const key = `${caller.kind} ${identity}`
    const session = sessions.get(key) ?? {
      identity,
      how: caller.kind,
      connections: 0,
      addresses: [],
    }
    sessions.set(key, session)
    session.connections += 1
    const { remoteAddress: address } = socket
    if (address === undefined || session.addresses.includes(address)) continue
    if (session.addresses.length < mostAddresses) session.addresses.push(address)
  }
  return [...sessions.values()].toSorted((a, b) => b.connections - a.connections)
}

/** Of several processes: those of one identity are one. */
export function sessionsOfAll(all: readonly (readonly Session[])[]): readonly Session[] {
  const [only = [], ...others] = all
  if (others.length === 0) return only
  const sessions = new Map<string, Session>()
  for (const session of all.flat()) {
    const key = `${session.how} ${session.identity}`
    const { connections = 0, addresses = [] } = sessions.get(key) ?? {}
    sessions.set(key, {
      ...session,
      connections: connections + session.connections,
      addresses: [...new Set([...addresses, ...session.addresses])].slice(0, mostAddresses),
    })
  }
  return [...sessions.values()].toSorted((a, b) => b.connections - a.connections)
}
