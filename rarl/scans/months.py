# ruff: noqa: RUF001 - letters of many alphabets
"""Names of the months in the languages of most archives (from Unicode CLDR 48, by Babel)."""

from __future__ import annotations

import unicodedata

# January to December; whole and short names, in the forms that stand alone and in dates.
_NAMES = (
    """
    ene enero gen gener gennaio ian ianuarie jaan jaanuar jan janeiro januar januari january
    január januára janv janvier janvāris janúar jänner led leden ledna oca ocak saus sausio
    sausis sij siječanj siječnja sty styczeń stycznia tammi tammikuu tammikuuta ιαν ιανουάριος
    ιανουαρίου січ січень січня янв январь января яну януари ינואר ינו׳ يناير ژانویه जनवरी जन॰
    ม.ค มกราคม
    """,
    """
    feb febbraio febr febrer febrero februar februari februarie february február februára
    februāris febrúar fev fevereiro févr février helmi helmikuu helmikuuta lut lutego luty vas
    vasario vasaris veebr veebruar velj veljača veljače úno únor února şub şubat φεβ φεβρουάριος
    φεβρουαρίου лют лютий лютого фев февр февраль февраля февруари פברואר פבר׳ فبراير فوریه
    फ़रवरी फ़र॰ ก.พ กุมภาพันธ์
    """,
    """
    bře březen března kov kovas kovo maalis maaliskuu maaliskuuta maart mar marca march marec
    maret mars mart martie marts marzec marzo març março mrt mrz márc március mär märts märz ožu
    ožujak ožujka μάρ μάρτιος μαρ μαρτίου бер березень березня мар март марта מרץ مارس मार्च
    มี.ค มีนาคม
    """,
    """
    abr abril apr april aprile aprilie aprill apríl apríla aprīlis avr avril bal balandis
    balandžio dub duben dubna d’abr d’abril huhti huhtikuu huhtikuuta kwi kwiecień kwietnia nis
    nisan tra travanj travnja ápr április απρ απρίλιος απριλίου апр апрель апреля април квіт
    квітень квітня אפריל אפר׳ آوریل أبريل अप्रैल เม.ย เมษายน
    """,
    """
    geg gegužė gegužės kvě květen května mag maggio mai maig maijs maio maj maja may mayo mayıs
    maí mei máj mája május svi svibanj svibnja touko toukokuu toukokuuta μάι μάιος μαΐ μαΐου май
    мая трав травень травня מאי مايو พ.ค พฤษภาคม
    """,
    """
    birž birželio birželis cze czerwca czerwiec giu giugno haz haziran iun iunie juin jun june
    junho juni junij junio juny juuni jún júna június júní jūn jūnijs kesä kesäkuu kesäkuuta lip
    lipanj lipnja červen června čvn ιουν ιουνίου ιούν ιούνιος июн июнь июня черв червень червня
    юни יוני يونيو ژوئن जून มิ.ย มิถุนายน
    """,
    """
    heinä heinäkuu heinäkuuta iul iulie juil juillet jul julho juli julij julio juliol july
    juuli júl júla július júlí jūl jūlijs liep liepa liepos lip lipca lipiec lug luglio srp
    srpanj srpnja tem temmuz července červenec čvc ιουλ ιουλίου ιούλ ιούλιος июл июль июля лип
    липень липня юли יולי يوليو ژوئیه जुलाई जुल॰ ก.ค กรกฎาคม
    """,
    """
    ago agost agosto agu agustus août aug august augusta augusti augusts augustus augusztus avg
    avgust ağu ağustos d’ag d’agost elo elokuu elokuuta kol kolovoz kolovoza rugp rugpjūtis
    rugpjūčio sie sierpień sierpnia srp srpen srpna ágú ágúst αυγ αυγούστου αύγ αύγουστος авг
    август августа серп серпень серпня אוגוסט אוג׳ أغسطس اوت अगस्त अग॰ ส.ค สิงหาคม
    """,
    """
    eyl eylül rugs rugsėjis rugsėjo ruj rujan rujna sep sept septembar september septembra
    septembre septembrie septembris septiembre set setembre setembro settembre syys syyskuu
    syyskuuta szept szeptember wrz wrzesień września zář září σεπ σεπτέμβριος σεπτεμβρίου вер
    вересень вересня сент сентябрь сентября сеп септември ספטמבר ספט׳ سبتمبر سپتامبر सितंबर सित॰
    ก.ย กันยายน
    """,
    """
    d’oct d’octubre eki ekim lis listopad listopada loka lokakuu lokakuuta oct october octobre
    octombrie octubre okt oktobar oktober oktobris oktoober október októbra ott ottobre out
    outubro paź październik października spal spalio spalis říj říjen října οκτ οκτωβρίου
    οκτώβριος жовт жовтень жовтня окт октомври октябрь октября אוקטובר אוק׳ أكتوبر اکتبر अक्टूबर
    अक्टू॰ ต.ค ตุลาคม
    """,
    """
    kas kasım lapkr lapkritis lapkričio lis listopad listopada listopadu marras marraskuu
    marraskuuta noiembrie nov novembar november novembra novembre novembris novembro noviembre
    nóv nóvember stu studeni studenoga νοέ νοέμβριος νοε νοεμβρίου лист листопад листопада ное
    ноември нояб ноябрь ноября נובמבר נוב׳ نوامبر نوفمبر नवंबर नव॰ พ.ย พฤศจิกายน
    """,
    """
    ara aralık dec decembar december decembra decembrie decembris des desember desembre dets
    detsember dez dezember dezembro dic dicembre diciembre déc décembre gru grudnia grudzień
    gruod gruodis gruodžio joulu joulukuu joulukuuta pro prosinac prosinca prosince prosinec δεκ
    δεκέμβριος δεκεμβρίου груд грудень грудня дек декабрь декабря декември דצמבר דצמ׳ دسامبر
    ديسمبر दिसंबर दिस॰ ธ.ค ธันวาคม
    """,
)


def months_by_name() -> dict[str, tuple[int, ...]]:
    """Each name in lower case, with and without accents, and the months that it may stand for.

    Some names stand for different months in neighbouring languages.
    """
    months: dict[str, tuple[int, ...]] = {}
    for number, names in enumerate(_NAMES, 1):
        for name in names.split():
            for form in {name, plain(name)}:
                months[form] = tuple(sorted({*months.get(form, ()), number}))
    return months


def plain(name: str) -> str:
    """A name in lower case, without accents."""
    kept = unicodedata.normalize("NFKD", name.lower())
    return "".join(mark for mark in kept if not unicodedata.combining(mark))
