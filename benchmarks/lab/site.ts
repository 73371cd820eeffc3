// Where a benchmark takes place: a folder, certificates and the client, all gone at its end.
import { makeCertificates, type Certificates } from '../../test/e2e/lab/certificates.ts'
import { makeFolder } from '../../test/e2e/lab/folder.ts'
import { startLoad, type Load } from './load.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'
import type { Identities } from './server.ts'

export interface Site {
  folder: string
  /** ECDSA on P-256 for everybody. */
  identities: Identities
  /** What they come from, to issue more. */
  certificates: Certificates
  load: Load
}

export async function makeSite(scope: Scope): Promise<Site> {
  const folder = makeFolder(scope)
  const certificates = await makeCertificates(folder)
  const { ca, gateway, client } = certificates
  const identities = { ca: ca.edge, server: gateway, client }
  return { folder, identities, certificates, load: startLoad(scope, { ca: ca.edge, ...client }) }
}
