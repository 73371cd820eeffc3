// The connections to one upstream: those to itself, which may show its client certificate, and those
// to its token service and download hosts, which must not.
import type { buildConnector, Dispatcher, Pool as PoolType } from 'undici'
import type { UpstreamConfig } from '../config/schema.ts'
import { Agent, Pool } from '../rules/rare/connections.ts'
import { undici } from '../rules/rare/packages.ts'
import type { TlsOptions, TlsProfile } from './tls.ts'
import { createConnector } from './transport/connector.ts'
import type { TimeLimits } from './transport/patience.ts'

export interface Agents {
  own: Dispatcher
  foreign: Dispatcher
  /** Of each answer. */
  limits: TimeLimits
  /** Lets what is under way end. */
  close(): Promise<void>
}

type Limits = Pick<UpstreamConfig, 'connectTimeout' | 'headersTimeout' | 'stallTimeout' | 'proxy'>

export function createAgents(limits: Limits, tls: TlsProfile): Agents {
  const own = createAgent(limits, tls.own)
  const foreign = createAgent(limits, tls.foreign)
  return {
    own,
    foreign,
    limits,
    close: async () => {
      await Promise.all([own.close(), foreign.close()])
    },
  }
}

/** To whoever listens at a socket file of this machine; plain HTTP. */
export function createSocketAgents(limits: Omit<Limits, 'proxy'>, socketPath: string): Agents {
  const connect = { socketPath, timeout: limits.connectTimeout, allowH2: false }
  const agent = new Agent({ ...optionsFor(limits), connect: createConnector(connect) })
  return { own: agent, foreign: agent, limits, close: async () => agent.close() }
}

function createAgent(limits: Limits, tls: TlsOptions): Dispatcher {
  const { connectTimeout, proxy } = limits
  // No session cache: it knows hosts without ports, and would mix up the identities of two upstreams.
  const connect = { ...tls, timeout: connectTimeout, maxCachedSessions: 0, allowH2: false }
  const options = optionsFor(limits)
  if (proxy === undefined) {
    return new Agent({ ...options, connect: keepingAlert(createConnector(connect)) })
  }
  const { ProxyAgent } = undici()
  return new ProxyAgent({
    ...options,
    uri: proxy,
    requestTls: connect,
    proxyTls: { minVersion: 'TLSv1.2', allowH2: false },
    factory: (origin, { connect: tunnel, ...own }: TunnelOptions) =>
      new Pool(origin, { ...own, connect: keepingAlert(tunnel) }),
    // A proxy that accepts the connection and says nothing would be waited for five minutes.
    clientFactory: (origin, own) => new Pool(origin, { ...own, headersTimeout: connectTimeout }),
  })
}

function optionsFor({ connectTimeout, headersTimeout, stallTimeout }: Omit<Limits, 'proxy'>) {
  return {
    allowH2: false,
    bodyTimeout: stallTimeout,
    connections: 128,
    connectTimeout,
    headersTimeout,
    keepAliveTimeout: 30_000,
    maxHeaderSize: 32 * 1024,
    pipelining: 1,
  }
}

type TunnelOptions = PoolType.Options & { connect: buildConnector.connector }

/**
 * Ends a connection with its first error. After a TLS alert the connection ends once more, in the
 * ordinary way, and that is the error that undici would report.
 */
function keepingAlert(connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) => {
    connect(options, (...result) => {
      const [, socket] = result
      socket?.once('error', (error) => socket.destroy(error))
      callback(...result)
    })
  }
}
