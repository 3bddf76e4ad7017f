# Counts words by length and first letter, and rewrites lines.
{
    for (i = 1; i <= NF; i++) {
        word = tolower($i)
        gsub(/[.,]/, "", word)
        count[word]++
        letters[substr(word, 1, 1)] += length(word)
    }
    if ($0 ~ /(the|and)[a-z]*ing/ || match($0, /[aeiou][aeiou][aeiou]/))
        hits++
    sum += NF * 1.5
}
END {
    best = ""
    for (word in count)
        if (best == "" || count[word] > count[best] || (count[word] == count[best] && word < best))
            best = word
    printf "%s %d %d %.1f\n", best, count[best], hits, sum
    for (c = 97; c <= 122; c++) {
        letter = sprintf("%c", c)
        printf "%s %d\n", letter, letters[letter]
    }
}
