"""Words of goods texts that name no goods, or only a sort of goods, in four languages.

After the European Commission's guidance on acceptable goods descriptions and the stop words of the
Import Control System 2 (ICS2): facts, in a list of our own. Without accents and capitals.
"""

from typing import Final

NAMES_NOTHING: Final = {
    "en": """
        accessories accessory article assorted belongings cargo commodities commodity component
        consignment consolidated consumer content contents daily dummy effects freight gift giveaway
        good goods groupage household industrial item load lot lots material merchandise misc
        miscellaneous mixed na necessities none object other others package parcel part personal
        piece present private product property purchase replacement requisites retail return
        returned sample shipment souvenir spare spares specimen stc stuff sundries sundry supplies
        tba tbd test thing unknown various ware wares xx xxx
    """,
    "fr": """
        accessoire article autre bien biens cadeau cadeaux cargaison chose colis composant
        consommation contenu courant detachee divers diverse echantillon effet element envoi
        fourniture fret inconnu marchandise materiel menager neant objet personnel personnelle piece
        prive produit quotidien rechange souvenir varie
    """,
    "nl": """
        accessoire allerlei artikel benodigdheden bezitting bezittingen cadeau diverse diversen
        eigendommen gemengde geschenk goed goederen huishoudartikel huishoudelijke inhoud koopwaar
        lading materiaal materialen monster onbekend onderdeel onderdelen overige pakket
        persoonlijke product proefmonster relatiegeschenk reserveonderdeel reserveonderdelen spullen
        stalen stuk stukken toebehoren verbruiksgoederen verschillende vervangstukken voorwerp
        vracht waar waren wisselstuk wisselstukken zending
    """,
    "de": """
        allerlei angabe artikel bauteil bedarf bedarfsartikel diverse diverses effekten einzelteil
        ersatzteil erzeugnis erzeugnisse fracht gebrauchsgegenstand gebrauchsgegenstande gegenstand
        gegenstande gemischte geschenk geschenkartikel geschenksendung gut guter habe handelsware
        haushaltsartikel haushaltsware inhalt komponente konsumguter ladung muster paket personliche
        personlicher probe produkt sammelgut sendung sonstige sonstiges stuckgut teil umzugsgut
        unbekannt verschiedene verschiedenes ware warenmuster warenprobe zubehor zubehorteil
    """,
}
"""Language → words. Goods texts of such words alone say nothing of the goods."""
NAMES_A_SORT: Final = {
    "en": """
        aircraft apparatus apparel appliance auto automotive car chemical cleaning clothes clothing
        cosmetics device electrical electronic electronics equipment food foodstuff gadget garment
        groceries iron leather machine machinery medical medicine metal pharmaceutical plastic
        rubber sanitary steel textile tool vehicle wear
    """,
    "fr": """
        acier aliment alimentaire appareil auto automobile avion caoutchouc chimique cosmetique cuir
        denree electrique electronique equipement habillement habit machine medicament metal
        metallique nettoyage outil outillage pharmaceutique plastique textile vehicule vestimentaire
        vetement voiture
    """,
    "nl": """
        apparaat apparaten apparatuur auto chemicalien chemische cosmetica elektrische elektronica
        elektronische etenswaren geneesmiddel geneesmiddelen gereedschap kleding kleren kunststof
        leder levensmiddel levensmiddelen machine medicijn metaal plastic rubber textiel toestel
        toestellen uitrusting vliegtuig voeding voedingsmiddelen voedsel voertuig
    """,
    "de": """
        arzneimittel ausrustung auto autoteil bekleidung chemikalien eisen elektro elektroartikel
        elektrogerat elektronik elektronische fahrzeug fahrzeugteil flugzeugteil gerat gummi kfz
        kleidung kosmetik kosmetika kunststoff lebensmittel leder maschine maschinenteil medikament
        metall nahrungsmittel plastik stahl textilien werkzeug
    """,
}
"""Language → words. Alone, or with the words above and below, they leave many chapters open."""
MODIFIERS: Final = {
    "en": """
        a all and any as attached birthday children christmas commercial contain containing ctn
        customer ecommerce etc family for free friend from general gents home in including industry
        invoice kg kid kind ladies lady list men mens mom my n new no non not of office on online
        only or order pack packing pair pc pcs per pkg purpose ref s said sale see set shop small
        that the to type unit use value with without women womens x your
    """,
    "fr": """
        a au aucun aucune avec ci commande commercial commerciale d dame de des du en enfant et
        facture femme homme joint jointe l la le les liste maison ne neuf noel non nouveau par pour
        sans selon un une usage valeur vente voir
    """,
    "nl": """
        bestelling bijgevoegd bijlage commerciele dames de een eigen en factuur gebruik gebruikt
        geen handelswaarde heren het huis in kinderen lijst met niet nieuw of op te tweedehands van
        verkoop volgens voor waarde zie zonder
    """,
    "de": """
        anlage aus beigefugt bestellung damen das dem den der des die ein eine fur gebrauch
        gebraucht gemass handelswert haus herren kein keine kinder laut lieferschein liste mit nach
        neu oder ohne rechnung siehe stuck und verkauf von wert zu zum zur
    """,
}
"""Language → words that add nothing to either."""
