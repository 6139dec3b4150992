# One table for each city and year, such as new-york-2012.csv.

BEGIN { FS = "," }

NR == 1 { header = $0; next }

{
    name = tolower($1)
    gsub(/[^a-z0-9]+/, "-", name)
    file = name "-" substr($2, 1, 4) ".csv"
    if (!(file in seen)) {
        seen[file] = 1
        print header > file
    }
    print > file
}
