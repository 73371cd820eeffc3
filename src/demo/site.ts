// What the demo needs around a gateway: certificates, a registry behind two-way TLS, a config.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createAuthority, issueCertificate, type Issued } from '../pki/authority.ts'
import { hostsToml, pairPaths } from '../pki/handover/handover.ts'
import { startRegistry, type Registry } from './registry.ts'
import { buildSampleImage } from './sample-image.ts'

export interface Site {
  folder: string
  /** The config file of a gateway in front of the registry. */
  config: string
  upstream: Registry
  /** The client certificate of a node, and the authority of the gateway's own. */
  node: { cert: string; key: string; ca: string }
}

/** The name of the upstream in the config, and of the repository that holds the image. */
export const demoUpstream = 'registry.demo'
export const demoRepository = 'sample/app'

const here = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1', '::1'] }

/** Writes everything below `folder` and starts the registry on a free port. */
export async function createSite(folder: string): Promise<Site> {
  const [ca, upstreamCa] = await Promise.all([
    createAuthority({ commonName: 'Demo CA' }),
    createAuthority({ commonName: 'Demo upstream CA' }),
  ])
  const [gateway, node, registry, gatewayClient] = await Promise.all([
    issueCertificate(ca, { profile: 'server', commonName: 'localhost', ...here }),
    issueCertificate(ca, { profile: 'client', commonName: 'edge-1' }),
    issueCertificate(upstreamCa, { profile: 'server', commonName: 'localhost', ...here }),
    issueCertificate(upstreamCa, { profile: 'client', commonName: 'gateway' }),
  ])
  const certs = join(folder, 'certs')
  mkdirSync(certs)
  writeFileSync(join(certs, 'ca.crt'), ca.certificatePem)
  writeFileSync(join(certs, 'upstream-ca.crt'), upstreamCa.certificatePem)
  writePair(certs, 'localhost', gateway)
  writePair(certs, 'edge-1', node)
  writePair(certs, 'gateway', gatewayClient)
  const upstream = await startRegistry({
    repositories: { [demoRepository]: await buildSampleImage() },
    tls: {
      cert: registry.certificatePem,
      key: registry.keyPem,
      ca: upstreamCa.certificatePem,
      requestCert: true,
      rejectUnauthorized: true,
    },
  })
  const config = join(folder, 'gateway.yaml')
  writeFileSync(config, configFor(upstream.port))
  return {
    folder,
    config,
    upstream,
    node: { cert: node.certificatePem, key: node.keyPem, ca: ca.certificatePem },
  }
}

/** Where containerd's `--hosts-dir` may point: the registry's images come from the gateway. */
export function writeHosts(folder: string, gateway: string): string {
  const hosts = join(folder, 'certs.d')
  mkdirSync(join(hosts, demoUpstream), { recursive: true })
  const toml = hostsToml(new URL(gateway), pairPaths(join(folder, 'certs'), 'edge-1'))
  writeFileSync(join(hosts, demoUpstream, 'hosts.toml'), toml)
  return hosts
}

function writePair(folder: string, name: string, { certificatePem, keyPem }: Issued): void {
  writeFileSync(join(folder, `${name}.crt`), certificatePem)
  writeFileSync(join(folder, `${name}.key`), keyPem, { mode: 0o600 })
}

function configFor(port: number): string {
  return `# Clients show a certificate of certs/ca.crt; the gateway shows its own to the registry.
listen:
  host: 127.0.0.1
  port: 0
  tls:
    cert: certs/localhost.crt
    key: certs/localhost.key
    clientAuth: required
    clientCa: [certs/ca.crt]
admin:
  port: 0
cache:
  dir: cache
upstreams:
  ${demoUpstream}:
    url: https://localhost:${port}
    tls:
      ca: certs/upstream-ca.crt
      cert: certs/gateway.crt
      key: certs/gateway.key
defaultUpstream: ${demoUpstream}
log:
  level: warn
`
}
