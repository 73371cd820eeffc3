// The upstream side of every end-to-end test: nginx with two-way TLS, docker-registry and an image.
import type { Test } from 'tap'
import { buildSampleImage, type SampleContent } from '../../../src/demo/sample-image.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import { makeCertificates, type Certificates } from './certificates.ts'
import { makeFolder, subfolder } from './folder.ts'
import { startNginx, type Nginx } from './nginx.ts'
import { startDockerRegistry, type DockerRegistry } from './registry.ts'

export interface Lab {
  folder: string
  certificates: Certificates
  registry: DockerRegistry
  nginx: Nginx
  /** What the repository `sample/app` holds. */
  image: SampleContent
  /** The digest of its index, tagged `1.0` and `latest`. */
  index: Digest
  /** The digest of its large layer, and the bytes. */
  large: { digest: Digest; bytes: Buffer }
}

/** The name of the image's repository at the registry. */
export const repository = 'sample/app'

/** Starts everything, stopped and removed with the test. */
export async function startLab(
  t: Pick<Test, 'teardown'>,
  options: { layerBytes?: number } = {},
): Promise<Lab> {
  const folder = makeFolder(t)
  const certificates = await makeCertificates(folder)
  const registry = await startDockerRegistry(t, folder)
  const nginx = await startNginx(t, {
    folder: subfolder(folder, 'nginx'),
    registry: registry.address,
    server: certificates.nginx,
    clientCa: certificates.ca.upstream,
    client: certificates.gatewayClient,
  })
  const image = await buildSampleImage(options)
  await registry.push(repository, image)
  const index = image.tags.get('1.0')
  const [large] = [...image.blobs].toSorted(([, a], [, b]) => b.length - a.length)
  if (index === undefined || large === undefined) throw new Error('the sample image is incomplete')
  const [digest, bytes] = large
  return { folder, certificates, registry, nginx, image, index, large: { digest, bytes } }
}
