/* Search: excerpts are of the article, not of the buttons above it, and begin where a word is. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return; // of Sphinx, on the page of search results only
  const textOfPage = Search.htmlToText;
  const summarise = Search.makeSearchSummary;

  Search.htmlToText = (markup, anchor) => {
    const article = new DOMParser().parseFromString(markup, "text/html").querySelector("article.bd-article");
    if (!article) return textOfPage(markup, anchor);
    article.querySelectorAll(".headerlink, script, style").forEach(element => element.remove());
    return ((anchor && article.querySelector(anchor)) || article).textContent;
  };

  // Sphinx looks for stems ("harmoni"), which need not be in the text ("Harmony"): look for less of them.
  Search.makeSearchSummary = (markup, stems, anchor) => {
    const text = Search.htmlToText(markup, anchor).toLowerCase();
    const words = [...stems].map(stem => {
      let word = stem.toLowerCase();
      while (word && !text.includes(word)) word = word.slice(0, -1);
      return word;
    });
    return summarise(markup, words.some(Boolean) ? words.filter(Boolean) : [text.slice(0, 1)], anchor);
  };
});
