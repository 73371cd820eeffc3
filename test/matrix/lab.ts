// Writes what the programs of the matrix read: certificates, nginx's config, the gateways' configs.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { IssueOptions } from '../../src/pki/authority.ts'
import { expired, here, makeCertificates, type Certificates } from '../e2e/lab/certificates.ts'
import type { Places } from './places.ts'
import {
  clientAuthOf,
  gatewayNames,
  modes,
  situations,
  upstreamName,
  type GatewayName,
  type Mode,
  type Situation,
  type SituationName,
} from './plan.ts'

export interface LabOptions {
  /** The nginx servers that get a wrong certificate: an expired one, or a right one instead. */
  broken?: readonly SituationName[]
}

/** The upstream that the networks must keep a gateway from: the registry itself. */
export const forbiddenUpstream = 'registry.direct'

/** Writes everything below `places.lab`, which must exist. */
export async function writeLab(places: Places, { broken = [] }: LabOptions = {}): Promise<void> {
  const { lab } = places
  const certificates = await makeCertificates(lab)
  for (const situation of situations) {
    await issueServer(certificates, places, situation, broken.includes(situation.name))
  }
  const { issue } = certificates
  await issue('gateway', 'edge', {
    profile: 'server',
    dnsNames: ['localhost', ...gatewayNames],
    ...here,
  })
  await issue('stranger', 'stranger', {})
  await issue('client-right', 'edge', {})
  await issue('client-wrong-ca', 'stranger', {})
  await issue('client-expired', 'edge', expired)
  writeNginxConfig(places)
  for (const name of gatewayNames) {
    writeFileSync(gatewayConfig(lab, name), stringify(configOf(places, name)))
  }
}

/** Path of a gateway's config file. */
export function gatewayConfig(lab: string, name: GatewayName): string {
  return join(lab, `${name}.yaml`)
}

/** To break it is to let a right certificate expire, or to take a wrong one's flaw away. */
async function issueServer(
  { issue }: Certificates,
  { nginx }: Places,
  { name, flaw }: Situation,
  broken: boolean,
): Promise<void> {
  const flawed = broken ? undefined : flaw
  const names: Partial<IssueOptions> =
    flawed === 'wrong_name'
      ? { dnsNames: ['another.example'] }
      : { dnsNames: [nginx.host], ...here }
  const dates = broken && flaw === undefined ? expired : {}
  const authority = flawed === 'unknown_ca' ? 'stranger' : 'upstream'
  await issue(`nginx-${name}`, authority, { profile: 'server', ...names, ...dates })
}

const nginxFolder = join(import.meta.dirname, '../../nginx')

function writeNginxConfig({ lab, nginxRun, registry, nginx }: Places): void {
  const values: Record<string, string> = {
    LAB: lab,
    RUN: nginxRun,
    REGISTRY: registry,
    HEALTH_PORT: String(nginx.health),
  }
  for (const { name } of situations) {
    values[`${name.toUpperCase().replaceAll('-', '_')}_PORT`] = String(nginx.ports[name])
  }
  const template = readFileSync(join(nginxFolder, 'matrix.conf.template'), 'utf8')
  const config = template.replaceAll(/\$\{([A-Z_]+)\}/g, (whole, name: string) => {
    const value = values[name]
    if (value === undefined && name !== 'NAMES') throw new Error(`nothing is known of ${whole}`)
    return value ?? whole
  })
  writeFileSync(join(lab, 'nginx.conf'), config)
  copyFileSync(join(nginxFolder, 'registry-location.conf'), join(lab, 'registry-location.conf'))
}

function configOf(places: Places, name: GatewayName): Record<string, unknown> {
  const { gateways, registry, isolated } = places
  const { listen, port, adminPort, cache } = gateways[name]
  const server = { cert: 'gateway.crt', key: 'gateway.key' }
  const clientAuth = clientAuthOf[name]
  const clientCa = clientAuth === 'none' ? {} : { clientCa: ['edge-ca.crt'] }
  const own = modes.filter(({ gateway }) => gateway === name)
  const upstreams = own.flatMap((mode) =>
    situations.map((situation): [string, unknown] => [
      upstreamName(mode, situation),
      upstreamOf(places, mode, situation),
    ]),
  )
  if (isolated) upstreams.push([forbiddenUpstream, { url: `https://${registry}` }])
  return {
    listen: { host: listen, port, tls: { ...server, clientAuth, ...clientCa } },
    admin: { host: listen, port: adminPort, tls: server },
    cache: { dir: cache },
    upstreams: Object.fromEntries(upstreams),
  }
}

function upstreamOf({ nginx }: Places, { verify, shows }: Mode, { name }: Situation) {
  const url = `https://${nginx.host}:${nginx.ports[name]}`
  const trust = verify ? { ca: 'upstream-ca.crt' } : { verify: false }
  const certificates = { nothing: undefined, gateway: 'gateway-client', stranger: 'stranger' }
  const shown = certificates[shows]
  const own = shown === undefined ? {} : { cert: `${shown}.crt`, key: `${shown}.key` }
  return { url, tls: { ...trust, ...own } }
}
