// What is known of public registries: where they answer, and where their blobs are redirected to.

/** `tagTtl` unless it is written, ms. */
export const defaultTagTtl = 300_000

/** Docker Hub's names; `docker.io` is what people write, the others are what clients resolve it to. */
const dockerHubNames: ReadonlySet<string> = new Set([
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
])

interface Registry {
  name: RegExp
  /** Host globs, as in the `redirects` key of an upstream. */
  redirects: string[]
}

const registries: Registry[] = [
  {
    name: /^(?:docker\.io|index\.docker\.io|registry-1\.docker\.io)$/,
    redirects: [
      'production.cloudflare.docker.com',
      'production.cloudfront.docker.com',
      'docker-images-prod.*.r2.cloudflarestorage.com',
    ],
  },
  {
    name: /^quay\.io$/,
    redirects: [
      '*.quay.io',
      'quay-registry.s3.amazonaws.com',
      'quayio-production-s3.s3.amazonaws.com',
      'quayio-production-s3.s3.*.amazonaws.com',
    ],
  },
  { name: /^ghcr\.io$/, redirects: ['pkg-containers.githubusercontent.com'] },
  {
    name: /^registry\.k8s\.io$/,
    redirects: ['*.pkg.dev', '*.s3.dualstack.*.amazonaws.com', 'storage.googleapis.com'],
  },
  { name: /^(?:(?:us|eu|asia)\.)?gcr\.io$/, redirects: ['*.pkg.dev', 'storage.googleapis.com'] },
  { name: /^[a-z0-9-]+-docker\.pkg\.dev$/, redirects: ['storage.googleapis.com'] },
  { name: /^mcr\.microsoft\.com$/, redirects: ['*.data.mcr.microsoft.com', '*.cdn.mscr.io'] },
  {
    name: /^[a-z0-9-]+\.azurecr\.io$/,
    redirects: ['*.data.azurecr.io', '*.blob.core.windows.net'],
  },
  { name: /^public\.ecr\.aws$/, redirects: ['*.cloudfront.net'] },
  {
    name: /^\d{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com$/,
    redirects: [
      'prod-*-starport-layer-bucket.s3.*.amazonaws.com',
      'prod-*-starport-layer-bucket.s3.dualstack.*.amazonaws.com',
    ],
  },
  {
    name: /^registry\.gitlab\.com$/,
    redirects: ['cdn.registry.gitlab-static.net', 'storage.googleapis.com'],
  },
  { name: /^registry(?:\.access)?\.redhat\.(?:io|com)$/, redirects: ['*.quay.io'] },
  { name: /^nvcr\.io$/, redirects: ['*.nvcr.io', 'xfiles.ngc.nvidia.com'] },
]

/** Whether `name` is one of the names of Docker Hub, which are all the same registry. */
export function isDockerHub(name: string): boolean {
  return dockerHubNames.has(name)
}

/** The URL of the upstream called `name` when its config gives none; without trailing slash. */
export function defaultUrl(name: string): string {
  return `https://${isDockerHub(name) ? 'registry-1.docker.io' : name}`
}

/**
 * The hosts, as globs, that the registry called `name` is known to redirect downloads to; none for
 * a registry that is not known.
 */
export function defaultRedirects(name: string): string[] {
  const known = registries.find((registry) => registry.name.test(name))
  return known === undefined ? [] : [...known.redirects]
}
