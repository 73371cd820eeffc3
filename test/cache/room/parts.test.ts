import * as fc from 'fast-check'
import t from 'tap'
import { partsOf, type ContentGraph } from '../../../src/cache/room/parts.ts'
import type { Digest } from '../../../src/oci/digest.ts'

/** Contents by number; each refers only to those with larger ones, as no digest can be in itself. */
interface Model {
  edges: [parent: number, child: number][]
  stored: boolean[]
  named: boolean[]
}

const nodes = 12
const model: fc.Arbitrary<Model> = fc.record({
  edges: fc.array(
    fc
      .tuple(fc.nat(nodes - 1), fc.nat(nodes - 1))
      .filter(([one, other]) => one !== other)
      .map(([one, other]): [number, number] => (one < other ? [one, other] : [other, one])),
    { maxLength: 30 },
  ),
  stored: fc.array(fc.boolean(), { minLength: nodes, maxLength: nodes }),
  named: fc.array(fc.boolean(), { minLength: nodes, maxLength: nodes }),
})

const digestOf = (node: number) => `sha256:${node}` as Digest
const nodeOf = (digest: Digest) => Number(digest.slice(7))

function contentGraph({ edges, stored, named }: Model): ContentGraph {
  return {
    children: (digest) =>
      edges.filter(([parent]) => parent === nodeOf(digest)).map(([, child]) => digestOf(child)),
    holders: (digest) =>
      edges
        .filter(([parent, child]) => child === nodeOf(digest) && stored[parent])
        .map(([parent]) => digestOf(parent)),
    isStored: (digest) => stored[nodeOf(digest)] ?? false,
    staysAlone: (digest) => named[nodeOf(digest)] ?? false,
  }
}

/** All that can be reached from what stands by itself when `gone` does not any more. */
function reachable({ edges, stored, named }: Model, gone: ReadonlySet<number>): Set<number> {
  const isStored = (node: number) => stored[node] === true && !gone.has(node)
  const isRoot = (node: number) =>
    isStored(node) &&
    (named[node] === true ||
      !edges.some(([parent, child]) => child === node && stored[parent] === true))
  const reached = new Set([...stored.keys()].filter(isRoot))
  for (const node of reached) {
    for (const [parent, child] of edges) if (parent === node && isStored(child)) reached.add(child)
  }
  return reached
}

t.test('what goes is what nothing that stays can reach', async (t) => {
  fc.assert(
    fc.property(model, fc.nat(nodes - 1), (content, root) => {
      const graph = contentGraph(content)
      const going = partsOf(digestOf(root), graph).map(nodeOf)
      const isHeld = [...graph.holders(digestOf(root))].length > 0
      if (content.stored[root] !== true || isHeld) return going.length === 0
      const before = reachable(content, new Set())
      const after = reachable(content, new Set([root]))
      const expected = new Set([...before].filter((node) => !after.has(node)))
      return going.length === expected.size && going.every((node) => expected.has(node))
    }),
    { numRuns: 2000 },
  )
  t.pass('2000 graphs')
})

t.test('one after the other, as together', async (t) => {
  fc.assert(
    fc.property(model, (content) => {
      const graph = contentGraph({ ...content, named: content.named.map(() => false) })
      const gone = new Set<Digest>()
      // From the outside in, all goes that is there.
      for (let node = 0; node < nodes; node += 1) partsOf(digestOf(node), graph, gone)
      return content.stored.every((isStored, node) => gone.has(digestOf(node)) === isStored)
    }),
    { numRuns: 2000 },
  )
  t.pass('2000 graphs')
})
