// An image that an upstream has, for a diagnosis that was given none.
import type { Upstream } from '../exchange.ts'
import { parseUpstreamImage, type Image } from './image.ts'
import { inquireWithAccess } from './access-check.ts'
import { retrieve } from './retrieval.ts'

/** Repositories that are looked into: the first ones may have lost their tags. */
const most = 10
const largestList = 1024 * 1024

/** The first tag in the catalog; many public registries have no catalog. */
export async function findImage(upstream: Upstream): Promise<Image | undefined> {
  const { result } = await inquireWithAccess(
    upstream,
    { method: 'GET', path: `_catalog?n=${most}` },
    '_catalog',
  )
  if (result.kind === 'failure' || result.status !== 200) return undefined
  for (const repository of textsIn(result.body, 'repositories').slice(0, most)) {
    const image = await tagIn(upstream, repository)
    if (image !== undefined) return image
  }
  return undefined
}

async function tagIn(upstream: Upstream, repository: string): Promise<Image | undefined> {
  if (imageOf(repository) === undefined) return undefined
  const request = { method: 'GET', repository, resource: 'tags/list?n=1' } as const
  const answer = await retrieve(upstream, request, largestList)
  if (answer instanceof Error || answer.status !== 200) return undefined
  const [tag] = textsIn(answer.body.toString('utf8'), 'tags')
  return tag === undefined ? undefined : imageOf(`${repository}:${tag}`)
}

/** Undefined where an upstream names what must not become a part of a URL. */
function imageOf(text: string): Image | undefined {
  try {
    return parseUpstreamImage(text)
  } catch {
    return undefined
  }
}

function textsIn(body: string, key: string): string[] {
  try {
    const list = (JSON.parse(body) as Record<string, unknown> | null)?.[key]
    return Array.isArray(list) ? list.filter((entry) => typeof entry === 'string') : []
  } catch {
    return []
  }
}
