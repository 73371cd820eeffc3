// Diagnoses of test upstreams, over real TLS.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ServerOptions } from 'node:https'
import type { Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import type { Issued } from '../../src/pki/authority.ts'
import { diagnose, type Diagnosis } from '../../src/upstream/doctor/diagnosis.ts'
import type { Image } from '../../src/upstream/doctor/image.ts'
import { openIdentities, readUpstreamFiles } from '../../src/upstream/endpoints/files.ts'
import { upstreamConfig, type Overrides } from './ask.ts'
import { testPki } from './tls.ts'
import { startUpstream, type Fault, type Upstream } from './upstream.ts'

export const sample = await buildSampleImage({ layerBytes: 1000 })

export interface Diagnosed {
  diagnosis: Diagnosis
  upstream: Upstream
}

export interface Situation {
  /** HTTPS with these options; plain HTTP without. */
  server?: ServerOptions
  faults?: Fault[]
  config?: Partial<Overrides>
  image?: Image
}

/** Starts an upstream that has the sample image as `app`, and diagnoses it. */
export async function diagnoseUpstream(t: Test, situation: Situation): Promise<Diagnosed> {
  const { server, faults = [], config = {}, image } = situation
  const upstream = await startUpstream(t, {
    repositories: { app: sample },
    faults,
    ...(server === undefined ? {} : { tls: server }),
  })
  const protocol = server === undefined ? 'http' : 'https'
  const url = `${protocol}://localhost:${upstream.port}`
  return { diagnosis: await diagnoseConfig({ url, ...config }, image), upstream }
}

export async function diagnoseConfig(config: Overrides, image?: Image): Promise<Diagnosis> {
  const upstreams = { up: upstreamConfig(config) }
  const [prepared] = readUpstreamFiles(upstreams, await openIdentities(upstreams))
  if (prepared === undefined) throw new Error('nothing was prepared')
  return diagnose(prepared, image)
}

/** The step that failed, and how; undefined where none did. */
export function failureIn({ steps }: Diagnosis) {
  return steps.find(({ outcome }) => outcome === 'failed')
}

/** What came of each step, such as `dns ok`. */
export function outcomesOf({ steps }: Diagnosis): string[] {
  return steps.map(({ step, outcome }) => `${step} ${outcome}`)
}

/** The modes by what came of them, such as `{ 'one-way secure': 'unknown_ca' }`. */
export function modesIn({ modes }: Diagnosis): Record<string, string> {
  return Object.fromEntries(modes.map(({ mode, outcome, reason }) => [mode, reason ?? outcome]))
}

export interface TestFiles {
  ca: string
  otherCa: string
  client: { cert: string; key: string }
  expiredClient: { cert: string; key: string }
  password: string
}

/** Files for configs, in a folder that is removed with the test. */
export async function makeFiles(t: Test): Promise<TestFiles> {
  const pki = await testPki()
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const write = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const pair = (name: string, { certificatePem, keyPem }: Issued) => ({
    cert: write(`${name}.crt`, certificatePem),
    key: write(`${name}.key`, keyPem),
  })
  return {
    ca: write('ca.crt', pki.ca.certificatePem),
    otherCa: write('other-ca.crt', pki.otherCa.certificatePem),
    client: pair('client', pki.client),
    expiredClient: pair('expired-client', pki.expiredClient),
    password: write('password', 'correct horse'),
  }
}

export function serverOf({ certificatePem, keyPem }: Issued): ServerOptions {
  return { cert: certificatePem, key: keyPem }
}
