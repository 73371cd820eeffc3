// What the tests of rules and dashboard read out of texts.

/** The names of metrics in an expression; of a histogram that of the whole. */
export function metricNamesIn(expression: string): string[] {
  const names = expression.match(/\b(?:portcullis|process|nodejs)_\w+/g) ?? []
  return names.map((name) => name.replace(/_(bucket|count|sum)$/, ''))
}

/** Of a Markdown text, the anchors that its headings have on the usual pages. */
export function headingAnchors(markdown: string): Set<string> {
  const headings = [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading)
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    ),
  )
}
